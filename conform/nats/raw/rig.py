"""What every case needs: fresh names, connections that are closed afterwards, requests.

A case is a function marked with @case; its name is the case's name, its result the answer. Nothing is judged by sleeping: what must come is
awaited, and that nothing else came is seen by a message that the same sender sent later.
"""

import json
import re
import time

from wire import NUMBERS, Message, Wire

import cases
from cases import case  # noqa: F401 from here the cases take it


class Rig(cases.Rig):
    """One case's view of the server."""

    def __init__(self, arguments):
        super().__init__(f"c{time.time_ns() // 1000 % 36**8:x}", arguments)
        self._asking = None

    def wire(self, address=None, **options):
        secure, answers_pings = options.pop("secure", None), options.pop("answers_pings", True)
        wire = Wire(address or self.arguments.url, options.pop("connect", options), secure, answers_pings)
        self.open.append(wire)
        return wire

    # Requests.

    @property
    def asking(self):
        """The connection that requests are sent on."""
        if self._asking is None:
            self._asking = self.wire()
            self._asking.subscribe(f"_INBOX.{self.stem}.>")
        return self._asking

    def request(self, subject, payload="", headers=None):
        """The first answer."""
        reply = f"_INBOX.{self.stem}.{next(NUMBERS)}"
        payload = payload if isinstance(payload, str) else json.dumps(payload)
        if headers:
            self.asking.publish_with(subject, headers, payload, reply)
        else:
            self.asking.publish(subject, payload, reply)
        while True:
            found = self.asking.message()
            if found.subject == reply:
                return found

    def api(self, subject, payload=""):
        """A JetStream request's answer, or its status."""
        answer = self.request("$JS.API." + subject, payload)
        return json.loads(answer.body) if answer.body else {"status": answer.status}

    def silent(self, subject, payload=""):
        """What is answered before a later request is, or nothing."""
        reply = f"_INBOX.{self.stem}.{next(NUMBERS)}"
        self.asking.publish(subject, payload, reply)
        last = f"_INBOX.{self.stem}.{next(NUMBERS)}"
        self.asking.publish("$JS.API.INFO", "", last)
        found = None
        while (message := self.asking.message()).subject != last:
            if message.subject == reply:
                found = message.status or (verdict(json.loads(message.body)) if message.body else "")
        return found

    def refused(self, subject, payload=""):
        """[code, err_code, description] of a request that is refused, or "ok"."""
        return verdict(self.api(subject, payload))

    def put(self, subject, payload="", **headers):
        """A publish that a stream answers: its PubAck, or its error."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.request(subject, payload, headers)
        return json.loads(answer.body) if answer.body else {"status": answer.status}

    def stream(self, suffix="", **config):
        """A stream that is ready to be used and gone afterwards; by default it captures NAME.>."""
        name = config.pop("name", self.name(suffix))
        config = {"name": name, "subjects": [f"{name}.>"], "storage": "memory", **config}
        answer = self.api(f"STREAM.CREATE.{name}", config)
        if "error" in answer:
            raise RuntimeError(f"{name.replace(self.stem, 'NAME')} could not be created: {answer['error']}")
        self.streams.append(name)
        return name

    def consumer(self, stream, name="c", **config):
        """A consumer; explicit acks unless said otherwise."""
        config = {"durable_name": name, "ack_policy": "explicit", **config}
        answer = self.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": ""})
        if "error" in answer:
            raise RuntimeError(f"{name.replace(self.stem, 'NAME')} could not be created: {answer['error']}")
        return name

    def pull(self, stream, name="c", wire=None, **asked):
        """Sends a pull request; the connection and the inbox on which answers come."""
        wire = wire or self.wire()
        inbox = f"_INBOX.{self.stem}p.{next(NUMBERS)}"
        wire.subscribe(inbox)
        wire.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", json.dumps(asked) if asked else "", inbox)
        return wire

    def next(self, stream, name="c", **asked):
        """The first answer to a pull request."""
        return self.pull(stream, name, **{"batch": 1, "expires": 8_000_000_000, **asked}).message()

    def ack(self, message, kind="+ACK"):
        """A settlement that is waited for."""
        return self.request(message.reply, kind).body

    def info(self, stream):
        return self.api(f"STREAM.INFO.{stream}")

    def state(self, stream):
        """Counts and ends."""
        state = self.info(stream)["state"]
        return [state["messages"], state["first_seq"], state["last_seq"]]

    def consumer_info(self, stream, name="c"):
        return self.api(f"CONSUMER.INFO.{stream}.{name}")

    def place(self, stream, name="c"):
        """Where a consumer is: delivered, floor (each consumer.stream), then four counts."""
        info = self.consumer_info(stream, name)
        pair = lambda field: f"{info[field]['consumer_seq']}.{info[field]['stream_seq']}"
        counts = [info[count] for count in ("num_ack_pending", "num_redelivered", "num_waiting", "num_pending")]
        return [pair("delivered"), pair("ack_floor"), *counts]

    # What differs between two runs.

    def plain(self, value):
        """Without names, times and sizes that no two runs share."""
        if isinstance(value, dict):
            gone = ("created", "ts", "first_ts", "last_ts", "timestamp", "id", "server", "last_active", "cluster", "time", "client")
            return {self.plain(name): "VERSION" if name == "_nats.ver" else self.plain(inner) for name, inner in value.items() if name not in gone}
        if isinstance(value, list):
            return [self.plain(inner) for inner in value]
        if isinstance(value, Message):
            return self.plain(value.plain())
        if isinstance(value, str):
            value = value.replace(self.stem, "NAME")
            return re.sub(r"_INBOX\.[\w.]+", "INBOX", value)
        return value

    def close(self):
        for name in self.streams:
            try:
                self.api(f"STREAM.DELETE.{name}")
            except Exception:  # the next case makes names of its own
                break
        for wire in self.open:
            wire.close()
        for server in self.servers:
            server.stop()


def verdict(answer):
    error = answer.get("error")
    return [error["code"], error["err_code"], error["description"]] if error else "ok"


def bodies(messages):
    return [message.body for message in messages]
