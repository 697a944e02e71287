"""The verbs of the cases on aiokafka. Its event loop runs in a thread of its own, so that members beat while a case does something else."""

import asyncio
import ssl
import threading
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from rig import PATIENCE, Late, Record, Unable

STRATEGIES = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def do(work):
    return asyncio.run_coroutine_threadsafe(work, LOOP).result(PATIENCE * 2)


def code_in(response):
    """The first error in an answer that only reports."""
    entries = response.topic_errors if hasattr(response, "topic_errors") else response.topic_error_codes
    return next((entry[1] for entry in entries if entry[1]), 0)


class Client:
    name = "aiokafka"
    strategies = list(STRATEGIES)
    finds_back = True
    patient_fetch = {"fetch_max_wait_ms": 10_000}

    def __init__(self, bootstrap, **security):
        self.address = {"bootstrap_servers": bootstrap} | security
        self._admin = None

    def admin(self, work):
        """One verb of the administrator's, on a connection that is made when it is needed first."""

        async def run():
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self.address)
                await admin.start()
                self._admin = admin
            return await work(self._admin)

        return do(run())

    # Topics.

    def create(self, topic, partitions=1, configs=None, replication=1, validate_only=False):
        if partitions == -1:
            raise Unable()
        configs = {name: str(value) for name, value in (configs or {}).items()}
        new = NewTopic(topic, partitions, replication, topic_configs=configs)
        return code_in(self.admin(lambda admin: admin.create_topics([new], validate_only=validate_only)))

    def delete(self, topic):
        return code_in(self.admin(lambda admin: admin.delete_topics([topic])))

    def create_partitions(self, topic, total):
        try:
            return code_in(self.admin(lambda admin: admin.create_partitions({topic: NewPartitions(total)})))
        except KafkaError as error:
            return error.errno

    def topics(self):
        return set(self.admin(lambda admin: admin.list_topics()))

    def partitions(self, topic):
        found = self.admin(lambda admin: admin.describe_topics([topic]))[0]
        return None if found["error_code"] else sum(partition["leader"] >= 0 for partition in found["partitions"])

    def cluster(self):
        found = self.admin(lambda admin: admin.describe_cluster())
        nodes = [broker["node_id"] for broker in found["brokers"]]
        return {"brokers": len(nodes), "controller": found["controller_id"] in nodes, "id": bool(found["cluster_id"])}

    # Records.

    def produce(self, topic, records, partition=0, acks="all", codec="none", idempotent=False, largest=None):
        if any(record.key is None and record.value is None for record in records):
            raise Unable()
        if codec == "zstd":
            raise Unable()

        async def run():
            settings = {"acks": {"0": 0, "1": 1, "all": "all"}[acks], "compression_type": None if codec == "none" else codec, "linger_ms": 2}
            producer = AIOKafkaProducer(**self.address, **settings, enable_idempotence=idempotent, max_request_size=largest or 1 << 20)
            await producer.start()
            try:
                sent = []
                for record in records:
                    sent.append(await producer.send(topic, record.value, record.key, partition, record.time_ms, record.headers))
                await producer.flush()
                return [placed(await asyncio.gather(future, return_exceptions=True)) for future in sent]
            finally:
                await producer.stop()

        return do(run())

    def read(self, topic, count, start=0, partition=0, **settings):
        async def run():
            consumer = AIOKafkaConsumer(**self.address, enable_auto_commit=False, auto_offset_reset="none", **settings)
            await consumer.start()
            try:
                place = TopicPartition(topic, partition)
                consumer.assign([place])
                if start == "earliest":
                    await consumer.seek_to_beginning(place)
                elif start == "latest":
                    await consumer.seek_to_end(place)
                else:
                    consumer.seek(place, start)
                got, deadline = [], time.monotonic() + PATIENCE
                while len(got) < count:
                    found = await consumer.getmany(timeout_ms=200, max_records=count - len(got))
                    got.extend(record_of(message) for messages in found.values() for message in messages)
                    if time.monotonic() > deadline:
                        raise Late()
                return got
            except OffsetOutOfRangeError:
                return 1
            finally:
                await consumer.stop()

        return do(run())

    def offset(self, topic, spec, partition=0):
        if spec == "max_timestamp":
            raise Unable()

        async def run():
            consumer = AIOKafkaConsumer(**self.address)
            await consumer.start()
            try:
                place = TopicPartition(topic, partition)
                if spec in ("earliest", "latest"):
                    found = await (consumer.beginning_offsets([place]) if spec == "earliest" else consumer.end_offsets([place]))
                    return found[place]
                found = (await consumer.offsets_for_times({place: spec}))[place]
                return found.offset if found else -1
            finally:
                await consumer.stop()

        return do(run())

    def delete_records(self, topic, before, partition=0):
        place = TopicPartition(topic, partition)
        try:
            return self.admin(lambda admin: admin.delete_records({place: RecordsToDelete(before_offset=before)}))[place]
        except KafkaError as error:
            return {"code": error.errno}

    # Groups.

    def member(self, group, topics, strategy="range", instance=None):
        return Member(self.address, group, topics, strategy, instance)

    def group(self, group):
        answer = self.admin(lambda admin: admin.describe_consumer_groups([group]))[0]
        _, _, state, _, assignor, members, *_ = answer.groups[0]
        return {"state": state.lower(), "assignor": assignor, "members": len(members)}

    def groups(self):
        return {group for group, _ in self.admin(lambda admin: admin.list_consumer_groups())}

    def delete_group(self, group):
        raise Unable()

    def committed(self, group):
        found = self.admin(lambda admin: admin.list_consumer_group_offsets(group))
        return {(place.topic, place.partition): entry.offset for place, entry in found.items()}

    def set_committed(self, group, topic, offset, partition=0):
        raise Unable()

    # Configurations, rights.

    def configs(self, topic):
        answer = self.admin(lambda admin: admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
        code, _, _, _, entries = answer.resources[0]
        dynamic_topic = 1
        return code or {entry[0]: (entry[1], entry[3] != dynamic_topic) for entry in entries}

    def alter(self, topic, **changes):
        raise Unable()

    def allow(self, principal, operation, name, kind="topic"):
        raise Unable()

    def encrypted(self, address, ca):
        return Client(address, security_protocol="SSL", ssl_context=ssl.create_default_context(cafile=ca))

    def distrusts(self, address):
        """Whether it hangs up on a broker whose authority it does not know."""
        return not connects(bootstrap_servers=address, security_protocol="SSL", ssl_context=ssl.create_default_context())

    def login(self, address, mechanism, user, password, action=None, ca=None):
        if action:
            raise Unable()
        security = {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": password}
        security |= {"security_protocol": "SASL_SSL", "ssl_context": ssl.create_default_context(cafile=ca)} if ca else {"security_protocol": "SASL_PLAINTEXT"}
        return 0 if connects(bootstrap_servers=address, **security) else 58


def connects(**settings):
    """All that it says otherwise is that no broker would have it."""

    async def run():
        admin = AIOKafkaAdminClient(**settings)
        try:
            await admin.start()
            return True
        except KafkaError:
            return False
        finally:
            await admin.close()

    return do(run())


def placed(outcome):
    (outcome,) = outcome
    if isinstance(outcome, KafkaError):
        if outcome.errno == -1:
            raise Unable()  # a code that aiokafka does not know
        return {"code": outcome.errno}
    if isinstance(outcome, Exception):
        raise outcome
    return outcome and outcome.offset  # there is none without an answer


def record_of(message):
    kind = "append" if message.timestamp_type == 1 else "create"
    return Record(message.value, message.key, message.headers, message.timestamp, message.offset, message.partition, kind)


class Member:
    """A consumer in a group."""

    def __init__(self, address, group, topics, strategy, instance):
        async def start():
            settings = {"session_timeout_ms": 10_000, "heartbeat_interval_ms": 300, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
            consumer = AIOKafkaConsumer(*topics, **address, group_id=group, group_instance_id=instance, partition_assignment_strategy=(STRATEGIES[strategy],), **settings)
            await consumer.start()
            return consumer

        # It is there when it was given its partitions, which may need another member's poll: so it starts beside the case.
        self.starting = asyncio.run_coroutine_threadsafe(start(), LOOP)
        self.closed = False

    @property
    def consumer(self):
        return self.starting.result(PATIENCE)

    def poll(self, seconds=0.1):
        if not self.starting.done():
            time.sleep(seconds)
            return []
        found = do(self.consumer.getmany(timeout_ms=int(seconds * 1000)))
        return [record_of(message) for messages in found.values() for message in messages]

    def assignment(self):
        return sorted((place.topic, place.partition) for place in self.consumer.assignment()) if self.starting.done() else []

    def commit(self, topic, offset, partition=0, metadata=None):
        if metadata:
            raise Unable()
        try:
            do(self.consumer.commit({TopicPartition(topic, partition): OffsetAndMetadata(offset, "")}))
            return 0
        except KafkaError as error:
            return error.errno

    def committed(self, topic, partition=0):
        """Offset and metadata; aiokafka tells only the offset, so nobody commits with metadata here."""
        found = do(self.consumer.committed(TopicPartition(topic, partition)))
        return None if found is None else [found, ""]

    def close(self):
        if not self.closed:
            do(self.consumer.stop())
        self.closed = True
