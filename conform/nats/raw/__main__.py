"""What no client library would show: every word on the wire, refused requests by their numbers and texts, and servers with configurations.

    python conform/nats/raw --url 127.0.0.1:4222 [--server 'nats-server'] [--tls FOLDER] [--only case,case]
"""

import argparse
import json
import pathlib
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent))

import acks  # noqa: F401 each of these registers its cases
import batches  # noqa: F401
import consumers  # noqa: F401
import core  # noqa: F401
import dead  # noqa: F401
import delays  # noqa: F401
import deliveries  # noqa: F401
import gone  # noqa: F401
import layers  # noqa: F401
import publishes  # noqa: F401
import rights  # noqa: F401
import servers  # noqa: F401
import streams  # noqa: F401
from rig import CASES, Rig
from started import Unable, broken


def restart():
    """Have the server restarted; False if nobody knows how."""
    print(json.dumps({"ask": "restart"}), flush=True)
    return sys.stdin.readline().strip() == "done"


def answer(name, arguments):
    rig = Rig(name, arguments, restart)
    try:
        return {"answer": rig.plain(CASES[name](rig))}
    except Unable:
        raise
    except Exception as error:  # a case that breaks is an answer that differs
        return broken(error)
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--server", help="how a server is started that takes -c FILE -p PORT")
    parser.add_argument("--tls", help="a folder with server.pem and server.key")
    parser.add_argument("--only")
    parser.add_argument("--times", action="store_true", help="say on standard error how long each case takes")
    arguments = parser.parse_args()
    arguments.url = arguments.url.removeprefix("nats://")
    only = [name.removeprefix("raw_") for name in arguments.only.split(",")] if arguments.only else list(CASES)
    for name in only:
        if name in CASES:
            start = time.monotonic()
            try:
                print(json.dumps({"case": f"raw_{name}", **answer(name, arguments)}), flush=True)
            except Unable:
                pass
            if arguments.times:
                print(f"{time.monotonic() - start:7.2f} s {name}", file=sys.stderr)


main()
