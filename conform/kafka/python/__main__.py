"""The cases with one of Python's clients. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.

    python conform/kafka/python confluent|aiokafka|kafka-python --bootstrap 127.0.0.1:9092 [--sasl 127.0.0.1:9093]
        [--tls 127.0.0.1:9094 --sasl-tls 127.0.0.1:9095 --ca authority.pem] [--only case,case]
"""

import argparse
import importlib
import json
import logging
import os
import sys
import time
import traceback

import groups  # noqa: F401 each of these registers its cases
import messages  # noqa: F401
import rights  # noqa: F401
import tls  # noqa: F401
import topics  # noqa: F401
from rig import CASES, Rig, Unable

LIBRARIES = {"confluent": "confluent", "aiokafka": "aio", "kafka-python": "plain"}


def restart():
    """Have the broker restarted; False if nobody knows how."""
    print(json.dumps({"ask": "restart"}), flush=True)
    return sys.stdin.readline().strip() == "done"


def observe(name, client, arguments):
    rig = Rig(name, client, arguments, restart)
    try:
        return {"case": name, "answer": CASES[name](rig)}
    except Unable:
        raise
    except Exception as error:  # a case that breaks is an answer that differs
        return {"case": name, "answer": {"broken": f"{type(error).__name__}: {error}"}, "why": traceback.format_exc()}
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--sasl")
    parser.add_argument("--tls")
    parser.add_argument("--sasl-tls")
    parser.add_argument("--ca")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)  # two of the libraries tell there what cases bring about on purpose
    client = importlib.import_module(LIBRARIES[arguments.library]).Client(arguments.bootstrap)
    only = arguments.only.split(",") if arguments.only else list(CASES)
    needs = {"sasl": arguments.sasl, "tls": arguments.tls}
    for name in only:
        if name in CASES and needs.get(name.split("_")[0], "nothing"):
            try:
                print(json.dumps(observe(name, client, arguments)), flush=True)
            except Unable:
                pass
    sys.stdout.flush()
    os._exit(0)  # some libraries wait for threads that will never end


main()
