"""Connections, authentication, tuning, channels."""

import socket
import ssl
import struct

import pika
from pika import spec
from pika.exceptions import ProbableAuthenticationError

from rig import PATIENCE, attempt, case, drain, plain, publish, publish_as, text, wait
from wire import HEADER, Wire


@case
def server_properties(rig):
    wire = Wire(rig.parameters())
    wire.raw(HEADER)
    start = wire.expect(spec.Connection.Start)
    wire.close()
    return {
        "version": [start.version_major, start.version_minor],
        "mechanisms": [name for name in ("PLAIN", "AMQPLAIN") if name in start.mechanisms.decode().split()],
        "locales": start.locales.decode(),
        "capabilities": plain(start.server_properties["capabilities"]),
        "named": sorted({"product", "version", "platform", "copyright", "information", "cluster_name"} & set(start.server_properties)),
    }


@case
def tune(rig):
    wire = Wire(rig.parameters())
    proposed = wire.open()
    wire.send(0, spec.Connection.Close(200, "done", 0, 0))
    closed = wire.receive()
    wire.close()
    return {"channel_max": proposed.channel_max, "frame_max": proposed.frame_max, "heartbeat": proposed.heartbeat, "close": closed.NAME}


@case
def frame_max_too_low(rig):
    wire = Wire(rig.parameters())
    wire.raw(HEADER)
    wire.expect(spec.Connection.Start)
    wire.send(0, spec.Connection.StartOk({}, "PLAIN", b"\0guest\0guest", "en_US"))
    wire.expect(spec.Connection.Tune)
    wire.send(0, spec.Connection.TuneOk(2047, 4096, 0))
    wire.send(0, spec.Connection.Open("/"))
    return wire.end(with_text=True)


@case
def small_frames(rig):
    channel = rig.channel(rig.connect(frame_max=8192))
    queue = rig.queue(channel)
    publish(channel, queue, "x" * 100_000)
    method, _, body = channel.basic_get(queue, auto_ack=True)
    return {"bytes": len(body), "intact": body == b"x" * 100_000}


@case
def amqplain(rig):
    class Amqplain:
        """The mechanism that amqplib and others offer: a table of LOGIN and PASSWORD, without its length."""

        TYPE = "AMQPLAIN"
        erase_on_connect = False

        def response_for(self, start):
            pieces = []
            pika.data.encode_table(pieces, {"LOGIN": "guest", "PASSWORD": "guest"})
            return self.TYPE, b"".join(pieces)[4:]

        def erase_credentials(self):
            pass

    pika.credentials.VALID_TYPES.append(Amqplain)
    channel = rig.channel(rig.connect(credentials=Amqplain()))
    return {"open": channel.is_open}


@case
def wrong_password(rig):
    try:
        rig.connect(credentials=pika.PlainCredentials("guest", "wrong"))
        return "ok"
    except ProbableAuthenticationError as error:
        return ["connection", 403, text(error.args[0].split("(403) ", 1)[1].strip("'\")"))]


@case
def wrong_password_without_capability(rig):
    wire = Wire(rig.parameters())
    wire.raw(HEADER)
    wire.expect(spec.Connection.Start)
    wire.send(0, spec.Connection.StartOk({}, "PLAIN", b"\0guest\0wrong", "en_US"))
    return wire.end()


@case
def unknown_mechanism(rig):
    wire = Wire(rig.parameters())
    wire.raw(HEADER)
    wire.expect(spec.Connection.Start)
    wire.send(0, spec.Connection.StartOk({}, "MAGIC", b"", "en_US"))
    return wire.end()


@case
def unknown_vhost(rig):
    wire = Wire(rig.parameters())
    wire.parameters.virtual_host = "no-such-vhost"
    wire.raw(HEADER)
    wire.expect(spec.Connection.Start)
    wire.send(0, spec.Connection.StartOk({}, "PLAIN", b"\0guest\0guest", "en_US"))
    wire.expect(spec.Connection.Tune)
    wire.send(0, spec.Connection.TuneOk(2047, 131072, 0))
    wire.send(0, spec.Connection.Open(wire.parameters.virtual_host))
    return wire.end(with_text=True)


@case
def heartbeat(rig):
    wire = Wire(rig.parameters())
    wire.open(heartbeat=1)
    while wire.beats < 2:
        value = wire.frame()
        wire.beats += isinstance(value, pika.frame.Heartbeat)
        wire.raw(pika.frame.Heartbeat().marshal())
    return {"broker_beats": True, "silent_client": wire.end()}


@case
def wrong_protocol_header(rig):
    wire = Wire(rig.parameters())
    wire.raw(b"GET / HTTP/1.1\r\n\r\n")
    wire.socket.settimeout(PATIENCE)
    answer = b""
    try:
        while data := wire.socket.recv(64):
            answer += data
    except ConnectionResetError:
        pass  # it did not read all of ours
    return {"answer": answer[:8].decode("latin-1"), "then": "closed"}


def broken(rig, data, number=1):
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel(number)
    wire.raw(data)
    answer = wire.end()
    wire.close()
    return answer


@case
def broken_frames(rig):
    method = pika.frame.Method(1, spec.Basic.Qos()).marshal()
    return {
        "wrong_end": broken(rig, method[:-1] + b"\x00"),
        "oversized": broken(rig, struct.pack(">BHI", 3, 1, 1 << 30)),
        "unknown_type": broken(rig, struct.pack(">BHI", 9, 1, 0) + b"\xce"),
        "short_arguments": broken(rig, struct.pack(">BHIHH", 1, 1, 4, 50, 10) + b"\xce"),
        "body_without_method": broken(rig, pika.frame.Body(1, b"x").marshal()),
        "method_in_content": broken(rig, pika.frame.Method(1, spec.Basic.Publish()).marshal() + method),
        "channel_not_open": broken(rig, pika.frame.Method(7, spec.Basic.Qos()).marshal()),
        "channel_opened_twice": broken(rig, pika.frame.Method(1, spec.Channel.Open()).marshal()),
        "content_on_channel_zero": broken(rig, pika.frame.Method(0, spec.Basic.Qos()).marshal()),
        "connection_method_on_channel": broken(rig, pika.frame.Method(1, spec.Connection.TuneOk(0, 0, 0)).marshal()),
    }


@case
def unknown_method(rig):
    return {
        "class": broken(rig, struct.pack(">BHIHH", 1, 1, 4, 999, 10) + b"\xce"),
        "method": broken(rig, struct.pack(">BHIHH", 1, 1, 4, 60, 999) + b"\xce"),
    }


@case
def channel_after_error(rig):
    connection = rig.connect()
    channel = connection.channel(5)
    closed = attempt(lambda: channel.queue_declare("channel_after_error.missing", passive=True))
    again = connection.channel(5)
    return {"closed": closed, "reopened": again.is_open, "connection": connection.is_open}


@case
def many_channels(rig):
    connection = rig.connect()
    channels = [connection.channel() for _ in range(2047)]
    first, last = channels[0], channels[-1]
    queue = rig.queue(first)
    last.confirm_delivery()
    publish(last, queue, "from the last")
    bodies = drain(first, queue)
    return {"open": sum(channel.is_open for channel in channels), "bodies": bodies}


@case
def too_many_channels(rig):
    wire = Wire(rig.parameters())
    wire.open(channel_max=3)
    for number in (1, 2, 3):
        wire.channel(number)
    wire.send(4, spec.Channel.Open())
    return wire.end()


@case
def channel_flow(rig):
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Channel.Flow(True))
    active = wire.expect(spec.Channel.FlowOk).active
    wire.send(1, spec.Channel.Flow(False))
    return {"active": active, "inactive": wire.end(with_text=True)}


@case
def connection_blocked_capability(rig):
    connection = rig.connect()
    return {"blocked": connection.basic_nack_supported and connection._impl.server_capabilities.get("connection.blocked")}


@case
def update_secret(rig):
    wire = Wire(rig.parameters())
    wire.open()
    # pika has no such method: class 10, method 70, long string and short string.
    arguments = struct.pack(">HH", 10, 70) + struct.pack(">I", 5) + b"guest" + b"\x07refresh"
    wire.raw(struct.pack(">BHI", 1, 0, len(arguments)) + arguments + b"\xce")
    wire.socket.settimeout(PATIENCE)
    head = wire.socket.recv(11)
    return {"class_and_method": list(struct.unpack(">HH", head[7:11]))}


@case
def tls_connect(rig):
    channel = rig.channel(rig.tls())
    queue = rig.queue(channel)
    publish(channel, queue, "over tls")
    return drain(channel, queue)


@case
def tls_external(rig):
    """Whom the certificate names may put that name on its messages, and no other."""
    connection = rig.tls("conform-client", external=True)
    queue = rig.queue(rig.channel(connection))
    return {
        "own": publish_as(connection, queue, "conform-client"),
        "of_another": publish_as(connection, queue, "guest"),
    }


@case
def tls_external_refused(rig):
    """A certificate that names no user, and none at all."""

    def log_in(certificate):
        try:
            rig.tls(certificate, external=True)
            return "ok"
        except ProbableAuthenticationError as error:
            return ["connection", 403, text(error.args[0].split("(403) ", 1)[1].strip("'\")"))]

    return {"stranger": log_in("conform-stranger"), "nobody": log_in(None)}


@case
def tls_unknown_authority(rig):
    parameters = pika.URLParameters(rig.arguments.tls_url)
    with socket.create_connection((parameters.host, parameters.port), 10) as plain_socket:
        try:
            ssl.create_default_context().wrap_socket(plain_socket, server_hostname="localhost")
            return "trusted"
        except ssl.SSLCertVerificationError:
            return "refused by the client"


@case
def tls_versions(rig):
    parameters = pika.URLParameters(rig.arguments.tls_url)
    spoken = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=rig.arguments.ca)
        context.minimum_version = context.maximum_version = version
        with socket.create_connection((parameters.host, parameters.port), 10) as plain_socket:
            with context.wrap_socket(plain_socket, server_hostname="localhost") as spoken_socket:
                spoken.append(spoken_socket.version())
    return spoken


@case
def dropped_connection_requeues(rig):
    channel = rig.channel()
    queue = rig.queue(channel)
    publish(channel, queue, "1", "2", "3")
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Basic.Consume(queue=queue, consumer_tag="t"))
    for _ in range(4):  # consume-ok and three deliveries
        wire.receive()
    wire.close()
    wait(channel.connection, lambda: channel.queue_declare(queue, passive=True).method.message_count == 3)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    return [[method.redelivered, body.decode()] for method, _, body in got]
