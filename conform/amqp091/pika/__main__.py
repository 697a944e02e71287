"""Every case, with pika. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.

    python conform/amqp091/pika --url amqp://guest:guest@127.0.0.1:5672/ [--tls-url amqps://… --ca ca.pem] [--only case,case]
"""

import argparse
import json
import sys
import traceback

import connections  # noqa: F401 each of these registers its cases
import consumers  # noqa: F401
import exchanges  # noqa: F401
import limits  # noqa: F401
import publishes  # noqa: F401
import queues  # noqa: F401
import streams  # noqa: F401
import streams  # noqa: F401
from rig import CASES, Rig


def restart():
    """Have the broker restarted; False if nobody knows how."""
    print(json.dumps({"ask": "restart"}), flush=True)
    return sys.stdin.readline().strip() == "done"


def answer(name, arguments):
    rig = Rig(name, arguments, restart)
    try:
        return CASES[name](rig)
    except Exception as error:  # a case that breaks is an answer that differs
        traceback.print_exc()
        return {"broken": f"{type(error).__name__}: {error}"}
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tls-url")
    parser.add_argument("--ca")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else list(CASES)
    for name in only:
        if name in CASES and (arguments.tls_url or not name.startswith("tls_")):
            print(json.dumps({"case": name, "answer": answer(name, arguments)}), flush=True)


main()
