"""NATS' side of a row: the official client for Python on an event loop of its own, and bare lines for what that client cannot say."""

import asyncio
import socket
import threading
import time

import nats

PATIENCE = 60.0  # seconds; how long an event may take that must come
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def do(work):
    return asyncio.run_coroutine_threadsafe(work, LOOP).result(PATIENCE)


class Listener:
    """What a subscription has heard."""

    def __init__(self, messages):
        self.messages = messages

    def take(self, count):
        """So many messages, in order; fails if they do not come in time."""

        async def run():
            return [await asyncio.wait_for(self.messages.get(), PATIENCE) for _ in range(count)]

        return do(run())


class Nats:
    """One connection."""

    def __init__(self, url):
        self.address = url
        self.client = do(nats.connect(url, allow_reconnect=False))

    def listen(self, *subjects, answer=None):
        """Hear these subjects; the broker knows of it when this returns. `answer` is sent back to whoever asks."""
        heard = asyncio.Queue()

        async def on_message(message):
            heard.put_nowait(message)
            if answer is not None:
                await message.respond(answer)

        async def run():
            for subject in subjects:
                await self.client.subscribe(subject, cb=on_message)
            # It writes a PING past what it still holds back: only behind the second one the broker surely has the subscriptions.
            await self.client.flush()
            await self.client.flush()

        do(run())
        return Listener(heard)

    def publish(self, subject, body=b"body", reply="", headers=None):
        async def run():
            await self.client.publish(subject, body, reply, headers)
            await self.client.flush()

        do(run())

    def request(self, subject, body=b"question", headers=None):
        return do(self.client.request(subject, body, timeout=PATIENCE, headers=headers))

    def close(self):
        do(self.client.close())


class Bare:
    """A connection by hand, for header lines that come again, which the client folds."""

    def __init__(self, url):
        host, port = url.removeprefix("nats://").split(":")
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()
        self.say(b'CONNECT {"verbose":false,"headers":true}\r\nPING\r\n', b"PONG")

    def say(self, text, until):
        """Send, and read lines until one begins so; that one."""
        self.socket.sendall(text)
        deadline = time.monotonic() + PATIENCE
        while not (line := self.stream.readline()).startswith(until):
            assert line and time.monotonic() < deadline, f"{until} does not come"
        return line

    def publish(self, subject, block, body):
        head = f"HPUB {subject} {len(block)} {len(block) + len(body)}\r\n".encode()
        self.say(head + block + body + b"\r\nPING\r\n", b"PONG")

    def listen(self, subject):
        self.say(f"SUB {subject} 1\r\nPING\r\n".encode(), b"PONG")

    def block(self):
        """The header block of the next message."""
        block_bytes, _ = (int(word) for word in self.say(b"", b"HMSG").split()[-2:])
        return self.stream.read(block_bytes)

    def close(self):
        self.stream.close()
        self.socket.close()
