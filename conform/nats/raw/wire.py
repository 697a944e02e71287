"""The NATS protocol by hand, as far as the cases need it: a socket that shows every operation the server sends, word for word."""

import itertools
import json
import socket
import ssl
import time

PATIENCE = 10.0  # seconds; how long something may take that must come
NUMBERS = itertools.count(1)


class Closed(Exception):
    """The server ended the connection."""


class Late(Exception):
    """Something that must come did not come in time."""


class Wire:
    """One connection. `options` is what CONNECT says; None: nothing is sent."""

    def __init__(self, address, options=(), secure=None, answers_pings=True):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.removeprefix("nats://"), int(port)), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input, self.info, self.later, self.answers_pings = bytearray(), {}, [], answers_pings
        if secure == "first":
            self.secure(CONTEXT)
        self.info = json.loads(self.line().removeprefix("INFO "))
        if secure == "after":
            self.secure(CONTEXT)
        if options is not None:
            self.send("CONNECT " + json.dumps({"verbose": False, "pedantic": False, "protocol": 1, "headers": True, "no_responders": True, **dict(options)}))

    def secure(self, context):
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, *lines):
        """Lines in one write, each with its end."""
        self.raw("".join(line + "\r\n" for line in lines).encode())

    def raw(self, content):
        self.socket.sendall(content)

    def publish(self, subject, payload="", reply=""):
        payload = payload if isinstance(payload, bytes) else payload.encode()
        self.raw(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def publish_with(self, subject, headers, payload="", reply=""):
        """`headers` is a dictionary, or the block itself."""
        if isinstance(headers, dict):
            headers = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        head, payload = headers.encode(), payload.encode()
        self.raw(f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode() + head + payload + b"\r\n")

    def subscribe(self, subject, sid=None, queue=""):
        sid = sid or str(next(NUMBERS))
        self.send(f"SUB {subject} {queue} {sid}")
        return sid

    def listen(self, subject):
        """Subscribes, and waits until the server knows."""
        self.subscribe(subject, "1")
        self.until_pong()

    def line(self):
        while (end := self.input.find(b"\r\n")) < 0:
            self._more()
        line = self.input[:end].decode("latin-1")
        del self.input[: end + 2]
        return line

    def op(self):
        """The next operation; a later INFO is put aside, since it may come at any time."""
        while True:
            line = self.line()
            verb, _, rest = line.partition(" ")
            if verb == "PING" and self.answers_pings:
                self.send("PONG")
                continue
            if verb == "INFO":
                self.later.append(json.loads(rest))
                continue
            if verb not in ("MSG", "HMSG"):
                return [verb, rest] if rest else [verb]
            words = rest.split(" ")
            numbers = 2 if verb == "HMSG" else 1
            sizes = [int(word) for word in words[-numbers:]]
            payload = self._exactly(sizes[-1] + 2)[:-2]
            subject, sid, *reply = words[:-numbers]
            head = payload[: sizes[0]].decode("latin-1") if verb == "HMSG" else None
            body = payload[sizes[0] :] if verb == "HMSG" else payload
            return Message(verb, subject, sid, reply[0] if reply else "", head, body.decode("latin-1"))

    def message(self):
        """The next message; anything else is not expected."""
        found = self.op()
        if not isinstance(found, Message):
            raise RuntimeError(f"{found} instead of a message")
        return found

    def messages(self, count):
        return [self.message() for _ in range(count)]

    def until_pong(self):
        """What comes before the answer to a ping."""
        self.send("PING")
        return list(iter(self.op, ["PONG"]))

    def error(self):
        """What the server complains about and whether it then ends the connection, which a ping finds out."""
        try:
            self.send("PING")
        except OSError:
            pass  # what it said before can still be read
        found = None
        try:
            while (op := self.op()) != ["PONG"]:
                found = op[1] if op[0] == "-ERR" else found
            return [found, "open"]
        except (Closed, OSError):
            return [found, "closed"]

    def rest(self):
        """All operations until the server ends the connection."""
        found = []
        try:
            while True:
                found.append(self.op())
        except (Closed, ConnectionError):
            return found

    def ends(self):
        try:
            while True:
                self.op()
        except (Closed, ConnectionError):
            return True
        except Late:
            return False

    def close(self):
        self.socket.close()

    def _exactly(self, count):
        while len(self.input) < count:
            self._more()
        found = bytes(self.input[:count])
        del self.input[:count]
        return found

    def _more(self):
        try:
            part = self.socket.recv(1 << 16)
        except TimeoutError:
            raise Late() from None
        if not part:
            raise Closed()
        self.input += part


class Message:
    """A delivered message."""

    def __init__(self, verb, subject, sid, reply, head, body):
        self.verb, self.subject, self.sid, self.reply, self.head, self.body = verb, subject, sid, reply, head, body

    @property
    def status(self):
        """The line after NATS/1.0: code and text, or nothing."""
        return self.head.split("\r\n", 1)[0].removeprefix("NATS/1.0").strip() if self.head else ""

    @property
    def headers(self):
        return dict(line.split(":", 1) for line in (self.head or "").split("\r\n")[1:] if line)

    def plain(self):
        words = [self.verb, self.subject, self.sid, self.reply]
        return [*words, *([self.head] if self.head is not None else []), self.body]


def until(happened, patience=PATIENCE, pause=0.02):
    """Ask again and again; what was answered at last, if it is true."""
    deadline = time.monotonic() + patience
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise Late()
        time.sleep(pause)
    return found


CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
