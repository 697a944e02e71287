"""What every case needs: fresh names, a connection, streams that are gone afterwards, waiting with a deadline.

A case is a coroutine marked with @case; its name is the case's name, its result the answer. The same case gives the same answer in every
language. Errors of JetStream are answered as their numbers, since every library has other names for them.
"""

import asyncio
import time

import nats
import nats.errors
import nats.js.errors

import cases
from cases import case  # noqa: F401 from here the cases take it

PATIENCE = 60.0  # seconds; how long an event may take that must come


class Rig(cases.Rig):
    """One case's view of the server."""

    def __init__(self, name, arguments):
        super().__init__(f"{name}-py-{time.time_ns() // 1000 % 36**7:x}", arguments)

    async def start(self):
        self.nc = await self.connect()
        self.js = self.nc.jetstream(timeout=PATIENCE)

    async def connect(self, url=None, **options):
        nc = await nats.connect(url or self.arguments.url, **{"connect_timeout": PATIENCE, "max_reconnect_attempts": 200, "reconnect_time_wait": 0.05, "error_cb": quiet, **options})
        self.open.append(nc)
        return nc

    async def stream(self, suffix="", **config):
        """A stream that captures NAME.>."""
        name = self.name(suffix)
        self.streams.append(name)
        await self.js.add_stream(**{"name": name, "subjects": [f"{name}.>"], "storage": nats.js.api.StorageType.MEMORY, **config})
        return name

    async def fill(self, stream, count, subjects="a"):
        for number in range(count):
            await self.js.publish(f"{stream}.{subjects[number % len(subjects)]}", str(number).encode())

    async def close(self):
        for name in self.streams:
            try:
                await self.js.delete_stream(name)
            except (nats.errors.Error, asyncio.TimeoutError):  # never made, or gone already
                pass
        for nc in self.open:
            await nc.close()
        for server in self.servers:
            server.stop()


async def quiet(_error):
    """What a case provokes is seen by the case."""


async def code(action):
    """The number of a JetStream error, "ok", or the library's word for what went wrong."""
    try:
        await action
        return "ok"
    except nats.js.errors.KeyWrongLastSequenceError:
        return 10071
    except nats.js.errors.APIError as error:
        return error.err_code or error.code
    except (asyncio.TimeoutError, nats.errors.TimeoutError):
        return "timeout"
    except nats.errors.NoRespondersError:
        return "no responders"


async def until(happened, patience=PATIENCE):
    """Ask again and again; what was answered at last, if it is true."""
    deadline = time.monotonic() + patience
    while not (found := await happened()):
        if time.monotonic() > deadline:
            raise TimeoutError("late")
        await asyncio.sleep(0.02)
    return found


def bodies(messages):
    return [message.data.decode() for message in messages]
