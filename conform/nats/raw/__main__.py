"""What no client library would show: every word on the wire, refused requests by their numbers and texts, and servers with configurations.

    python conform/nats/raw --url 127.0.0.1:4222 [--server 'nats-server'] [--tls FOLDER] [--only case,case]
"""

import pathlib
import sys

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
from cases import CASES, main
from rig import Rig


def answer(name, arguments):
    arguments.url = arguments.url.removeprefix("nats://")
    rig = Rig(arguments)
    try:
        return rig.plain(CASES[name](rig))
    finally:
        rig.close()


main(answer, prefix="raw_")
