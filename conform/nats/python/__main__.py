"""The cases with nats.py. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.

    python conform/nats/python --url nats://127.0.0.1:4222 [--server 'nats-server'] [--tls FOLDER] [--only case,case]
"""

import argparse
import asyncio
import json
import pathlib
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent))

import buckets  # noqa: F401 each of these registers its cases
import core  # noqa: F401
import streams  # noqa: F401
from rig import CASES, Rig
from started import Unable, broken


def restart():
    """Have the server restarted; False if nobody knows how."""
    print(json.dumps({"ask": "restart"}), flush=True)
    return sys.stdin.readline().strip() == "done"


async def answer(name, arguments):
    rig = Rig(name, arguments, restart)
    try:
        await rig.start()
        return {"answer": await CASES[name](rig)}
    except Unable:
        raise
    except Exception as error:  # a case that breaks is an answer that differs
        return broken(error)
    finally:
        await rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--server")
    parser.add_argument("--tls")
    parser.add_argument("--only")
    parser.add_argument("--times", action="store_true", help="say on standard error how long each case takes")
    arguments = parser.parse_args()
    for name in arguments.only.split(",") if arguments.only else CASES:
        if name in CASES:
            start = time.monotonic()
            try:
                print(json.dumps({"case": name, **asyncio.run(answer(name, arguments))}), flush=True)
            except Unable:
                pass
            if arguments.times:
                print(f"{time.monotonic() - start:7.2f} s {name}", file=sys.stderr)


main()
