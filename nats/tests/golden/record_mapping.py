#!/usr/bin/env python3
"""Asks a fresh nats-server (argument: port) what it makes of mappings: whether it takes each as a stream's subject transform and as its
republish, and to which subject it republishes. Prints `mapping.jsonl`."""
import json
import sys

from record import Client

SOURCES = ["t.*.*", "t.>", "t.*.>", "t.x.y", "*.*.*", ""]
WORDS = [
    "a", "$1", "$2", "$3", "$0", "$x", "$", "{{}}", "{{wildcard(1)}}", "{{Wildcard( 2 )}}", "{{wildcard(3)}}", "{{wildcard()}}",
    "{{wildcard(1,2)}}", "{{wildcard(x)}}", "{{wildcard(-1)}}", "{{ wildcard(1) }}", "{{wildcards(1)}}", "{{partition(5)}}",
    "{{partition(3,1)}}", "{{Partition(7, 2, 1)}}", "{{partition(0,1)}}", "{{partition(-1,1)}}", "{{partition()}}", "{{partition(x)}}",
    "{{partition(3,9)}}", "{{partition(9999999999)}}", "{{split(1,-)}}", "{{Split(2,--)}}", "{{split(1,)}}", "{{split(1)}}",
    "{{split(1,-,-)}}", "{{split(1, -)}}", "{{split(1,- )}}", "{{splitFromLeft(1,2)}}", "{{SplitFromRight(2,3)}}", "{{splitfromleft(1,99)}}",
    "{{splitFromLeft(1,0)}}", "{{splitFromLeft(1,x)}}", "{{splitFromLeft(1)}}", "{{sliceFromLeft(1,2)}}", "{{SliceFromRight(1,2)}}",
    "{{sliceFromRight(2,3)}}", "{{sliceFromLeft(2,-2)}}", "{{left(1,2)}}", "{{Right(2,3)}}", "{{right(1,99)}}", "{{random(1)}}",
    "{{random()}}", "{{random(1,2)}}", "{{unknown(1)}}", "{{wildcard 1}}", "*", "", "b c", "{{Wildcard(1)}}-x",
]
SUBJECTS = ["t.a.b", "t.ab-cd.e--fgh", "t.x.y", "t.-ab-.abcdefg", "t.a.b.c.d", "u.a.b"]


def main():
    client = Client(int(sys.argv[1]))
    client.send(b"SUB out.> 2\r\n")

    def create(config):
        config |= {"name": "M", "storage": "memory"}
        _, body = client.ask("$JS.API.STREAM.CREATE.M", None, json.dumps(config).encode())
        return json.loads(body).get("error")

    def delete():
        client.ask("$JS.API.STREAM.DELETE.M", None, b"")

    def published(subject):
        """Where a message to this subject is published again."""
        client.send(f"PUB {subject} answer 0\r\n\r\n".encode())
        again, answered = None, False
        while True:
            words = client.line().split(" ")
            if words[0] == "PONG":
                return again
            if words[0] in ("MSG", "HMSG"):
                client.octets(int(words[-1]))
                if words[1] != "answer":
                    again = words[1]
                elif not answered:
                    answered = True
                    client.send(b"PING\r\n")

    for source in SOURCES:
        rest = ".>" if source.endswith(">") or not source else ""
        for word in WORDS:
            for destination in sorted({f"out.{word}{rest}", "out.a"} if word == "a" else {f"out.{word}{rest}"}):
                of = {"src": source, "dest": destination}
                entry = dict(of)
                error = create({"subjects": ["t.>", "u.>"], "subject_transform": of})
                entry["transform"] = error and error["description"]
                delete()
                error = create({"subjects": ["t.>", "u.>"], "republish": of})
                entry["republish"] = error and error["description"]
                maps = {}
                if not error:
                    for subject in SUBJECTS:
                        maps[subject] = published(subject)
                entry["maps"] = maps
                delete()
                print(json.dumps(entry, ensure_ascii=False))


if __name__ == "__main__":
    main()
