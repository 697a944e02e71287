"""What the scripts in Python do alike: register cases, run those that are asked for, print each one's answer as a line of JSON.

A script hands `main` what answers one case; the same case gives the same answer in every language.
"""

import argparse
import json
import sys
import time

from started import Server, Unable, broken

CASES = {}


def case(function):
    """Register a case under the function's name."""
    CASES[function.__name__] = function
    return function


class Rig:
    """One case's view of the server: fresh names, and what is gone afterwards."""

    def __init__(self, stem, arguments):
        self.stem, self.arguments = stem, arguments
        self.open, self.streams, self.servers = [], [], []

    def name(self, suffix=""):
        return self.stem + suffix

    def server(self, config, *words, certificates=False):
        """Another server, with this configuration."""
        server = Server(self.arguments, config, words, certificates)
        self.servers.append(server)
        return server

    def restart(self):
        """Have the server restarted; False if nobody knows how."""
        print(json.dumps({"ask": "restart"}), flush=True)
        return sys.stdin.readline().strip() == "done"


def main(answer, prefix="", program=False):
    """Run the cases that are asked for; `answer` is given one's name and the arguments, among them `--nats` if a program is needed."""
    parser = argparse.ArgumentParser()
    if program:
        parser.add_argument("--nats", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--server", help="how a server is started that takes -c FILE -p PORT")
    parser.add_argument("--tls", help="a folder with server.pem and server.key")
    parser.add_argument("--only")
    parser.add_argument("--times", action="store_true", help="say on standard error how long each case takes")
    arguments = parser.parse_args()
    only = [name.removeprefix(prefix) for name in arguments.only.split(",")] if arguments.only else CASES
    for name in only:
        if name in CASES:
            start = time.monotonic()
            try:
                print(json.dumps({"case": prefix + name, **said(answer, name, arguments)}), flush=True)
            except Unable:
                pass
            if arguments.times:
                print(f"{time.monotonic() - start:7.2f} s {name}", file=sys.stderr)


def said(answer, name, arguments):
    try:
        return {"answer": answer(name, arguments)}
    except Unable:
        raise
    except Exception as error:  # a case that breaks is an answer that differs
        return broken(error)
