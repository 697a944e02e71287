"""What every case needs: connections, names, waiting with a deadline, and answers without what differs between two runs.

A case is a function marked with @case; its name is the case's name, its result the answer. It gets a Rig and declares through it, so that
whatever an earlier run left is deleted first and nothing stays behind.
"""

import datetime
import decimal
import pathlib
import re
import ssl
import time

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

PATIENCE = 60.0  # seconds; how long an event may take that must come
CASES = {}


def case(function):
    """Register a case under the function's name."""
    CASES[function.__name__] = function
    return function


class Late(Exception):
    """An event that must come did not come in time."""


class Rig:
    """One case's view of the broker."""

    def __init__(self, name, arguments, restart):
        self.name = name
        self.arguments = arguments
        self._restart = restart
        self._connections = []
        self._queues = []
        self._exchanges = []

    # Connections and channels.

    def parameters(self, **changes):
        parameters = pika.URLParameters(self.arguments.url)
        for key, value in changes.items():
            setattr(parameters, key, value)
        return parameters

    def connect(self, **changes):
        connection = pika.BlockingConnection(self.parameters(**changes))
        self._connections.append(connection)
        return connection

    def tls(self, certificate=None, external=False):
        """`certificate` names a pair of files beside the authority's: what the client shows of itself."""
        context = ssl.create_default_context(cafile=self.arguments.ca)
        if certificate:
            home = pathlib.Path(self.arguments.ca).parent
            context.load_cert_chain(home / f"{certificate}.pem", home / f"{certificate}.key")
        parameters = pika.URLParameters(self.arguments.tls_url)
        parameters.ssl_options = pika.SSLOptions(context, "localhost")
        if external:
            parameters.credentials = pika.credentials.ExternalCredentials()
        connection = pika.BlockingConnection(parameters)
        self._connections.append(connection)
        return connection

    def channel(self, connection=None):
        """A channel on which every publish waits for its confirm."""
        channel = (connection or self.connect()).channel()
        channel.confirm_delivery()
        return channel

    # Names and topology.

    def queue(self, channel, suffix="", **options):
        name = self.name + suffix
        channel.queue_delete(name)
        self._queues.append(name)
        channel.queue_declare(name, **options)
        return name

    def exchange(self, channel, kind, suffix="", **options):
        name = self.name + suffix
        channel.exchange_delete(name)
        self._exchanges.append(name)
        channel.exchange_declare(name, kind, **options)
        return name

    def bound(self, channel, exchange, suffix, key="", binding=None, **options):
        """A queue bound to the exchange."""
        name = self.queue(channel, suffix, **options)
        channel.queue_bind(name, exchange, key, binding)
        return name

    def restart(self):
        """Restart the broker, connections and all; False if nobody knows how."""
        self._connections.clear()  # they will not be there to be closed
        return self._restart()

    def close(self):
        for connection in self._connections:
            if connection.is_open:
                connection.close()
        with pika.BlockingConnection(self.parameters()) as connection:
            for name in self._queues:
                if isinstance(attempt(lambda: connection.channel().queue_delete(name)), list):
                    raise RuntimeError(f"{name} could not be deleted")
            for name in self._exchanges:
                connection.channel().exchange_delete(name)


class Reader:
    """A consumer that keeps what it was given, in order."""

    def __init__(self, channel, queue, **options):
        self.channel = channel
        self.got = []
        self.cancelled = False
        channel.add_on_cancel_callback(self._cancel)
        self.tag = channel.basic_consume(queue, lambda _channel, *message: self.got.append(message), **options)

    def _cancel(self, _frame):
        self.cancelled = True

    def wait(self, count):
        wait(self.channel.connection, lambda: len(self.got) >= count)
        return self

    @property
    def bodies(self):
        return [body.decode() for _, _, body in self.got]

    @property
    def tags(self):
        return [method.delivery_tag for method, _, _ in self.got]

    @property
    def redelivered(self):
        return [method.redelivered for method, _, _ in self.got]


def wait(connection, happened, patience=PATIENCE):
    """Let the connection work until something has happened."""
    deadline = time.monotonic() + patience
    while not happened():
        if time.monotonic() > deadline:
            raise Late()
        connection.process_data_events(time_limit=0.02)


def settle(channel):
    """A round trip: what the broker had to say about earlier asynchronous methods has arrived after it."""
    channel.basic_qos(prefetch_count=0)
    channel.connection.process_data_events(time_limit=0)


def attempt(action):
    """`ok`, or what was closed with which code and text."""
    try:
        action()
        return "ok"
    except ChannelClosedByBroker as closed:
        return ["channel", closed.reply_code, text(closed.reply_text)]
    except ConnectionClosedByBroker as closed:
        return ["connection", closed.reply_code, text(closed.reply_text)]


def publish_as(connection, queue, name):
    """What comes of a message to a queue that names a user as its sender."""

    def action():
        channel = connection.channel()
        channel.basic_publish("", queue, b"x", pika.BasicProperties(user_id=name))
        channel.queue_declare(queue, passive=True)

    return attempt(action)


def text(reply):
    """A reply text without generated names and process ids."""
    reply = re.sub(r"amq\.(gen|ctag)-[\w-]+", r"amq.\1-*", reply)
    return re.sub(r"<[\w.@-]+>", "<pid>", reply)


def publish(channel, key, *bodies, exchange="", **properties):
    """Publish in order, each confirmed if the channel is in confirm mode."""
    for body in bodies:
        channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties))


def count(channel, queue):
    """Messages that are ready."""
    return channel.queue_declare(queue, passive=True).method.message_count


def take(channel, queue, number=1, patience=PATIENCE):
    """Exactly so many messages by basic.get, waited for, as (method, properties, body)."""
    taken = []
    deadline = time.monotonic() + patience
    while len(taken) < number:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            taken.append((method, properties, body))
        elif time.monotonic() > deadline:
            raise Late()
        else:
            channel.connection.process_data_events(time_limit=0.02)
    return taken


def drain(channel, queue):
    """The bodies of all that is ready now."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def plain(value):
    """A header value as JSON, without what differs between two runs."""
    match value:
        case dict():
            return {key: plain(value[key]) for key in sorted(value)}
        case list():
            return [plain(item) for item in value]
        case bytes() | bytearray():
            return value.decode("latin-1")
        case datetime.datetime():
            return "<time>"
        case decimal.Decimal():
            return str(value)
        case _:
            return value
