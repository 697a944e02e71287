"""Kafka's protocol by hand, as far as the cases need it: the old encodings, record batches, and a socket that notices its end."""

import socket
import struct
import time

PATIENCE = 60.0  # seconds
PRODUCE, FETCH, LIST_OFFSETS, METADATA, COMMIT, COMMITTED, FIND, JOIN, BEAT, LEAVE, SYNC, HANDSHAKE, VERSIONS, CREATE, DELETE, DELETE_RECORDS, INIT, EPOCH = 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 23
CONFIGS, GROW, ALTER, SCRAM, DESCRIBE = 32, 37, 44, 51, 75


def i8(value):
    return struct.pack(">b", value)


def i16(value):
    return struct.pack(">h", value)


def i32(value):
    return struct.pack(">i", value)


def i64(value):
    return struct.pack(">q", value)


def text(value):
    return i16(-1) if value is None else i16(len(value.encode())) + value.encode()


def data(value):
    return i32(-1) if value is None else i32(len(value)) + value


def array(items):
    return i32(-1) if items is None else i32(len(items)) + b"".join(items)


def varint(value):
    return uvarint((value << 1) ^ (value >> 63))


def uvarint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def compact_text(value):
    return b"\x00" if value is None else compact_data(value.encode())


def compact_data(value):
    return uvarint(len(value) + 1) + value


def compact_array(items):
    return b"\x00" if items is None else uvarint(len(items) + 1) + b"".join(items)


TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def record(value, key=None, offset=0, time_delta=0):
    field = lambda content: varint(-1) if content is None else varint(len(content)) + content
    body = i8(0) + varint(time_delta) + varint(offset) + field(key) + field(value) + varint(0)
    return varint(len(body)) + body


def batch(*values, key=None, attributes=0, last_delta=None, count=None, producer=(-1, -1, -1), magic=2, crc_off=0, length_off=0, base=0, records=None, time_ms=None):
    """A record batch, wrong in the one thing that a case is about."""
    now = int(time.time() * 1000) if time_ms is None else time_ms
    records = b"".join(record(value, key, index) for index, value in enumerate(values)) if records is None else records
    last = len(values) - 1 if last_delta is None else last_delta
    producer_id, epoch, sequence = producer
    body = i16(attributes) + i32(last) + i64(now) + i64(now) + i64(producer_id) + i16(epoch) + i32(sequence) + i32(len(values) if count is None else count) + records
    rest = i32(-1) + i8(magic) + struct.pack(">I", crc32c(body) ^ crc_off) + body
    return i64(base) + i32(len(rest) + length_off) + rest


class Closed(Exception):
    """The broker ended the connection."""


class Reader:
    """What was answered, field by field."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, form):
        size = struct.calcsize(">" + form)
        (value,) = struct.unpack_from(">" + form, self.content, self.at)
        self.at += size
        return value

    def i8(self):
        return self.take("b")

    def i16(self):
        return self.take("h")

    def i32(self):
        return self.take("i")

    def i64(self):
        return self.take("q")

    def raw(self, count):
        self.at += count
        return self.content[self.at - count : self.at]

    def text(self):
        count = self.i16()
        return None if count < 0 else self.raw(count).decode()

    def data(self):
        count = self.i32()
        return None if count < 0 else self.raw(count)

    def array(self, item):
        return [item() for _ in range(max(self.i32(), 0))]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.raw(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def compact_text(self):
        count = self.uvarint()
        return None if count == 0 else self.raw(count - 1).decode()

    def compact_array(self, item):
        return [item() for _ in range(max(self.uvarint() - 1, 0))]

    def tags(self):
        for _ in range(self.uvarint()):
            self.uvarint(), self.raw(self.uvarint())

    def left(self):
        return len(self.content) - self.at


class Wire:
    """One connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.number = 0

    def send(self, key, version, body, tags=b""):
        """A request; `tags` is what a flexible header ends with."""
        self.number += 1
        request = i16(key) + i16(version) + i32(self.number) + text("raw") + tags + body
        self.socket.sendall(i32(len(request)) + request)

    def bytes(self, content):
        self.socket.sendall(content)

    def receive(self):
        """The next answer, after its correlation id."""
        reader = Reader(self._exactly(struct.unpack(">i", self._exactly(4))[0]))
        if reader.i32() != self.number:
            raise RuntimeError("an answer to another request")
        return reader

    def ask(self, key, version, body, tags=b""):
        self.send(key, version, body, tags)
        return self.receive()

    def ends(self):
        """Whether the broker closes it without a word."""
        try:
            self._exactly(1)
            return False
        except (Closed, ConnectionError):
            return True

    def silent(self, seconds):
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            self._exactly(1)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def _exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(count)
            if not part:
                raise Closed()
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self):
        self.socket.close()
