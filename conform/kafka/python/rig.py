"""What every case needs: fresh names, waiting with a deadline, and one face for three client libraries.

A case is a function marked with @case; its name is the case's name, its result the answer. It talks to a Client: `confluent.py`, `aio.py` and
`plain.py` put the same verbs on confluent-kafka, aiokafka and kafka-python. Errors are answered as Kafka's numbers, 0 for none, since every
library has other names for them. What a library cannot express raises Unable, and the case is not observed by it.
"""

import time

PATIENCE = 60.0  # seconds; how long an event may take that must come
CASES = {}


def case(function):
    """Register a case under the function's name."""
    CASES[function.__name__] = function
    return function


class Unable(Exception):
    """This library has no way to say that."""


class Late(Exception):
    """An event that must come did not come in time."""


class Record:
    """A record as it is sent or was read."""

    def __init__(self, value=None, key=None, headers=(), time_ms=None, offset=None, partition=0, kind=None):
        self.value, self.key, self.headers = value, key, list(headers)
        self.time_ms, self.offset, self.partition, self.kind = time_ms, offset, partition, kind  # kind of time: "create" or "append"

    def plain(self):
        """As JSON, without offset and time."""
        text = lambda data: None if data is None else data.decode("latin-1")
        return [text(self.key), text(self.value), [[name, text(value)] for name, value in self.headers]]


def records(*values, **options):
    return [Record(value.encode(), **options) for value in values]


class Rig:
    """One case's view of the broker."""

    def __init__(self, name, client, arguments, restart):
        self.client, self.arguments, self._restart = client, arguments, restart
        self._stem = f"{name}-{client.name}-{time.time_ns() // 1000000:x}"
        self._topics = []
        self._open = []

    def name(self, suffix=""):
        """A name that nothing else has, for a topic or a group."""
        return self._stem + suffix

    def expect(self, topic):
        """A topic that will be there and must be gone afterwards."""
        self._topics.append(topic)
        return topic

    def topic(self, suffix="", partitions=1, **configs):
        """A topic that is ready to be used."""
        topic = self.expect(self.name(suffix))
        configs = {name.replace("_", "."): value for name, value in configs.items()}
        code = self.client.create(topic, partitions, configs)
        if code:
            raise RuntimeError(f"{topic} could not be created: {code}")
        until(lambda: self.client.partitions(topic) == partitions)
        return topic

    def member(self, group, topics, **options):
        member = self.client.member(group, topics, **options)
        self._open.append(member)
        return member

    def restart(self):
        """Restart the broker; False if nobody knows how."""
        if not self.client.finds_back:
            raise Unable()
        return self._restart()

    def close(self):
        for member in self._open:
            member.close()
        for topic in self._topics:
            self.client.delete(topic)


def until(happened, patience=PATIENCE, pause=0.05):
    """Ask again and again; what was answered at last, if it is true."""
    deadline = time.monotonic() + patience
    while True:
        found = happened()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Late()
        time.sleep(pause)


def values(read):
    return [record.value.decode() for record in read]


def offsets(read):
    return [record.offset for record in read]
