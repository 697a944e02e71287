"""Programs that come with Kafka, or with Debian. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.

    python conform/kafka/tools tools|tools-3|kcat|streams|connect --classpath 'jars/*' --bootstrap 127.0.0.1:9092 [--only case,case]
"""

import argparse
import importlib
import json
import traceback

from rig import CASES, Rig


def observe(name, run, rig):
    try:
        return {"case": name, "answer": run(rig)}
    except Exception as error:  # a case that breaks is an answer that differs
        printed = [path.read_text()[-2000:] for path in rig.folder.glob("out-*")]
        return {"case": name, "answer": {"broken": f"{type(error).__name__}: {error}"}, "why": "\n".join([traceback.format_exc(), *printed])}
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("family", choices=["tools", "tools-3", "kcat", "streams", "connect"])
    parser.add_argument("--classpath", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--only")
    arguments, _ = parser.parse_known_args()  # where logins are wanted is of no use here
    family = "console" if arguments.family in ("tools", "tools-3") else arguments.family
    importlib.import_module(family)
    cases = CASES[family]
    for name in arguments.only.split(",") if arguments.only else cases:
        if name in cases:
            print(json.dumps(observe(name, cases[name], Rig(name, arguments))), flush=True)


main()
