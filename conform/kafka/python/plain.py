"""The verbs of the cases on kafka-python."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata, TopicPartition

from rig import PATIENCE, Late, Record, Unable

STRATEGIES = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}


def code(action):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            action()
            return 0
        except KafkaError as error:
            if hasattr(error, "errno"):
                return error.errno
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)  # not the broker's: no connection yet, after it was restarted


class Client:
    name = "kafka-python"
    strategies = list(STRATEGIES)
    finds_back = False  # its administrator, for one, has no node to ask for a while
    patient_fetch = {"fetch_max_wait_ms": 10_000}

    def __init__(self, bootstrap, **security):
        self.address = {"bootstrap_servers": bootstrap} | security
        self.admin = KafkaAdminClient(**self.address)

    # Topics.

    def create(self, topic, partitions=1, configs=None, replication=1, validate_only=False):
        configs = {name: str(value) for name, value in (configs or {}).items()}
        new = {topic: {"num_partitions": partitions, "replication_factor": replication, "configs": configs}}
        return code(lambda: self.admin.create_topics(new, validate_only=validate_only))

    def delete(self, topic):
        return code(lambda: self.admin.delete_topics([topic]))

    def create_partitions(self, topic, total):
        return code(lambda: self.admin.create_partitions({topic: total}))

    def topics(self):
        return set(self.admin.list_topics())

    def partitions(self, topic):
        found = self.admin.describe_topics([topic])
        found = found[topic] if isinstance(found, dict) else found[0]
        return None if found["error_code"] else sum(partition["leader_id"] >= 0 for partition in found["partitions"])

    def cluster(self):
        found = self.admin.describe_cluster()
        nodes = [broker["broker_id" if "broker_id" in broker else "node_id"] for broker in found["brokers"]]
        return {"brokers": len(nodes), "controller": found["controller_id"] in nodes, "id": bool(found["cluster_id"])}

    # Records.

    def produce(self, topic, records, partition=0, acks="all", codec="none", idempotent=False, largest=None):
        if any(record.key is None and record.value is None for record in records):
            raise Unable()
        settings = {"acks": {"0": 0, "1": 1, "all": "all"}[acks], "compression_type": None if codec == "none" else codec, "linger_ms": 2}
        producer = KafkaProducer(**self.address, **settings, enable_idempotence=idempotent, max_request_size=largest or 1 << 20)
        try:
            sent = [producer.send(topic, record.value, record.key, record.headers or None, partition, record.time_ms) for record in records]
            producer.flush(PATIENCE)
            return [placed(future) for future in sent]
        finally:
            producer.close(5)

    def read(self, topic, count, start=0, partition=0, **settings):
        consumer = KafkaConsumer(**self.address, enable_auto_commit=False, auto_offset_reset="none", **settings)
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        try:
            if start == "earliest":
                consumer.seek_to_beginning(place)
            elif start == "latest":
                consumer.seek_to_end(place)
            else:
                consumer.seek(place, start)
            got, deadline = [], time.monotonic() + PATIENCE
            while len(got) < count:
                for messages in consumer.poll(200, max_records=count - len(got)).values():
                    got.extend(record_of(message) for message in messages)
                if time.monotonic() > deadline:
                    raise Late()
            return got
        except OffsetOutOfRangeError:
            return 1
        finally:
            consumer.close(autocommit=False)

    def offset(self, topic, spec, partition=0):
        if spec == "max_timestamp":
            raise Unable()
        consumer = KafkaConsumer(**self.address)
        try:
            place = TopicPartition(topic, partition)
            if spec == "earliest":
                return consumer.beginning_offsets([place])[place]
            if spec == "latest":
                return consumer.end_offsets([place])[place]
            found = consumer.offsets_for_times({place: spec})[place]
            return found.offset if found else -1
        finally:
            consumer.close(autocommit=False)

    def delete_records(self, topic, before, partition=0):
        place = TopicPartition(topic, partition)
        try:
            found = self.admin.delete_records({place: before})[place]
            return found["low_watermark"] if isinstance(found, dict) else found
        except KafkaError as error:
            return {"code": error.errno}

    # Groups.

    def member(self, group, topics, strategy="range", instance=None):
        if instance:
            raise Unable()
        return Member(self.address, group, topics, strategy)

    def group(self, group):
        found = self.admin.describe_groups([group])[group]
        return {"state": found["group_state"].lower(), "assignor": found["protocol_data"], "members": len(found["members"])}

    def groups(self):
        return {found["group_id"] for found in self.admin.list_groups()}

    def delete_group(self, group):
        try:
            found = self.admin.delete_groups([group])[group]
        except KafkaError as error:
            return error.errno
        if isinstance(found, dict):
            found = found.get("error")
        return {"OK": 0, "NonEmptyGroupError": 68, "GroupIdNotFoundError": 69}[found] if isinstance(found, str) else getattr(found, "errno", 0)

    def committed(self, group):
        found = self.admin.list_group_offsets([group])[group]
        return {(place.topic, place.partition): entry.offset for place, entry in found.items()}

    def set_committed(self, group, topic, offset, partition=0):
        raise Unable()

    # Configurations, rights.

    def configs(self, topic):
        raise Unable()

    def alter(self, topic, **changes):
        raise Unable()

    def allow(self, principal, operation, name, kind="topic"):
        raise Unable()

    def encrypted(self, address, ca):
        return Client(address, security_protocol="SSL", ssl_cafile=ca)

    def distrusts(self, address):
        """Whether it hangs up on a broker whose authority it does not know."""
        return not connects(bootstrap_servers=address, security_protocol="SSL")

    def login(self, address, mechanism, user, password, action=None, ca=None):
        if action:
            raise Unable()
        security = {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": password}
        security |= {"security_protocol": "SASL_SSL", "ssl_cafile": ca} if ca else {"security_protocol": "SASL_PLAINTEXT"}
        return 0 if connects(bootstrap_servers=address, **security) else 58


def connects(**settings):
    """All that it says otherwise is that no broker would have it."""
    try:
        KafkaAdminClient(bootstrap_timeout_ms=3000, **settings).close()
        return True
    except KafkaError:
        return False


def placed(future):
    try:
        return future.get(PATIENCE).offset
    except KafkaError as error:
        return {"code": error.errno}


def record_of(message):
    kind = "append" if message.timestamp_type == 1 else "create"
    return Record(message.value, message.key, message.headers, message.timestamp, message.offset, message.partition, kind)


class Member:
    """A consumer in a group."""

    def __init__(self, address, group, topics, strategy):
        settings = {"session_timeout_ms": 10_000, "heartbeat_interval_ms": 300, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        self.consumer = KafkaConsumer(*topics, **address, group_id=group, partition_assignment_strategy=(STRATEGIES[strategy],), **settings)
        for topic in topics:
            self.consumer.partitions_for_topic(topic)  # one that joins before it knows the topic may never notice that it is there
        self.closed = False

    def poll(self, seconds=0.1):
        found = self.consumer.poll(int(seconds * 1000))
        return [record_of(message) for messages in found.values() for message in messages]

    def assignment(self):
        return sorted((place.topic, place.partition) for place in self.consumer.assignment())

    def commit(self, topic, offset, partition=0, metadata=None):
        return code(lambda: self.consumer.commit({TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata or "", -1)}))

    def committed(self, topic, partition=0):
        found = self.consumer.committed(TopicPartition(topic, partition), metadata=True)
        return None if found is None else [found.offset, found.metadata or ""]

    def close(self):
        if not self.closed:
            self.consumer.close(autocommit=False)
        self.closed = True
