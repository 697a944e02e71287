"""The cases with nats.py. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.

    python conform/nats/python --url nats://127.0.0.1:4222 [--server 'nats-server'] [--tls FOLDER] [--only case,case]
"""

import asyncio
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent.parent))

import buckets  # noqa: F401 each of these registers its cases
import core  # noqa: F401
import streams  # noqa: F401
from cases import CASES, main
from rig import Rig


async def answer(name, arguments):
    rig = Rig(name, arguments)
    try:
        await rig.start()
        return await CASES[name](rig)
    finally:
        await rig.close()


main(lambda name, arguments: asyncio.run(answer(name, arguments)))
