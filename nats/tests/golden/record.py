#!/usr/bin/env python3
"""Asks a fresh nats-server (first argument: port) the questions of a golden file (second) again, and prints it with the new answers.

Times and ids differ between runs, so the tests compare without them.
"""
import json
import socket
import sys


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 2)
        self.pending = b""
        self.line()
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n')
        self.send(b"SUB answer 1\r\n")

    def send(self, octets):
        self.socket.sendall(octets)

    def fill(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError("the server has closed the connection")
        self.pending += more

    def line(self):
        while b"\r\n" not in self.pending:
            self.fill()
        line, self.pending = self.pending.split(b"\r\n", 1)
        return line.decode()

    def octets(self, count):
        while len(self.pending) < count + 2:
            self.fill()
        octets, self.pending = self.pending[:count], self.pending[count + 2 :]
        return octets

    def ask(self, subject, headers, body):
        if headers:
            block = ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode()
            self.send(f"HPUB {subject} answer {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n")
        else:
            self.send(f"PUB {subject} answer {len(body)}\r\n".encode() + body + b"\r\n")
        while True:
            words = self.line().split(" ")
            if words[0] == "MSG":
                return "", self.octets(int(words[-1])).decode()
            if words[0] == "HMSG":
                both = self.octets(int(words[-1]))
                return both[: int(words[-2])].decode(), both[int(words[-2]) :].decode()
            if words[0] == "PING":
                self.send(b"PONG\r\n")


def main():
    client = Client(int(sys.argv[1]))
    for line in open(sys.argv[2]):
        entry = json.loads(line)
        entry.pop("answer_headers", None)
        body = entry.get("body", "")
        text = body if isinstance(body, str) else json.dumps(body)
        try:
            headers, answer = client.ask(entry["subject"], entry.get("headers"), text.encode())
        except TimeoutError:
            headers, answer = "", "(none)"
        entry["answer"] = json.loads(answer) if answer.startswith("{") else answer
        if headers:
            entry["answer_headers"] = headers
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
