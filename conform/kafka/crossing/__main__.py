"""Records from one dialect to another, seen by the official clients of Kafka, AMQP 0-9-1 and NATS: every row of docs/dialects/crossing.md.

    python conform/kafka/crossing --bootstrap 127.0.0.1:9092 --url amqp://guest:guest@127.0.0.1:5672/ --nats nats://127.0.0.1:4222
        [--only WORDS]

Judges by itself, since no other broker could: ends with 1 if a row does not hold. Called by `cargo xtask conform-crossing`.
"""

import argparse
import sys
import time
import traceback

import contents  # noqa: F401 each of these registers its rows
import places  # noqa: F401
import subjects  # noqa: F401
from rig import ROWS, Rig


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--only", default="", help="rows whose sentence has these words")
    arguments = parser.parse_args()
    failed, begun = [], time.monotonic()
    chosen = {sentence: row for sentence, row in ROWS.items() if arguments.only in sentence}
    for sentence, row in chosen.items():
        rig = Rig(arguments.bootstrap, arguments.url, arguments.nats)
        try:
            row(rig)
        except Exception:  # whatever breaks a row is its failure; the others go on
            failed.append(sentence)
            print(f"not so: {sentence}", file=sys.stderr)
            traceback.print_exc()
        rig.close()
    print(f"crossing: {len(chosen) - len(failed)} of {len(chosen)} rows hold, {time.monotonic() - begun:.1f} s")
    return 1 if failed or not chosen else 0


sys.exit(main())
