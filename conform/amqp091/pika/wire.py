"""AMQP 0-9-1 frame by frame, with pika's codec: for what a well-behaved client would never send, and for the exact order of what comes back."""

import socket
import struct
import time

import pika
from pika import frame, spec

from rig import PATIENCE, Late, text

HEADER = b"AMQP\x00\x00\x09\x01"


class Wire:
    """A socket and a buffer. `receive` gives the next method, or None at the end of the connection."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.socket = socket.create_connection((parameters.host, parameters.port), PATIENCE)
        self.buffer = b""
        self.beats = 0

    def open(self, heartbeat=0, frame_max=131072, channel_max=2047):
        """The handshake; returns what the broker proposed."""
        self.raw(HEADER)
        self.expect(spec.Connection.Start)
        self.send(0, spec.Connection.StartOk({"capabilities": {"consumer_cancel_notify": True}}, "PLAIN", b"\0guest\0guest", "en_US"))
        tune = self.expect(spec.Connection.Tune)
        self.send(0, spec.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.send(0, spec.Connection.Open(self.parameters.virtual_host))
        self.expect(spec.Connection.OpenOk)
        return tune

    def channel(self, number=1):
        self.send(number, spec.Channel.Open())
        self.expect(spec.Channel.OpenOk)

    def confirm(self, number=1):
        self.send(number, spec.Confirm.Select())
        self.expect(spec.Confirm.SelectOk)

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, channel, method):
        self.raw(frame.Method(channel, method).marshal())

    def publish(self, channel, body=b"", exchange="", key="", properties=None, **flags):
        self.send(channel, spec.Basic.Publish(exchange=exchange, routing_key=key, **flags))
        self.raw(frame.Header(channel, len(body), properties or pika.BasicProperties()).marshal())
        if body:
            self.raw(frame.Body(channel, body).marshal())

    def frame(self, patience=PATIENCE):
        """The next frame, heartbeats included; None at the end of the connection."""
        deadline = time.monotonic() + patience
        while True:
            try:
                used, value = frame.decode_frame(self.buffer)
            except struct.error:
                used, value = 0, None
            if value is not None:
                self.buffer = self.buffer[used:]
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late()
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise Late() from None
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data

    def receive(self, patience=PATIENCE):
        """The next method; contents and heartbeats are passed over, heartbeats counted."""
        while True:
            value = self.frame(patience)
            if value is None or isinstance(value, frame.Method):
                return value and value.method
            self.beats += isinstance(value, frame.Heartbeat)

    def expect(self, kind):
        method = self.receive()
        assert isinstance(method, kind), f"{kind.__name__} expected, got {method}"
        return method

    def end(self, with_text=False):
        """How the broker answers a fault: what it closes with which code."""
        method = self.receive()
        match method:
            case None:
                return "dropped"
            case spec.Connection.Close():
                what = "connection"
            case spec.Channel.Close():
                what = "channel"
            case _:
                return method.NAME
        return [what, method.reply_code] + ([text(method.reply_text)] if with_text else [])

    def close(self):
        self.socket.close()
