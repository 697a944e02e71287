"""The verbs of the cases on confluent-kafka, which is librdkafka."""

import time

from confluent_kafka import OFFSET_INVALID, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
    NewPartitions, NewTopic, OffsetSpec, ResourcePatternType, ResourceType,
)  # fmt: skip

from rig import PATIENCE, Late, Record, until

STRATEGIES = {"range": "range", "roundrobin": "roundrobin", "cooperative": "cooperative-sticky"}


def outcome(action):
    """What a future gives, or the number of its error."""
    try:
        return action()
    except KafkaException as error:
        return error.args[0].code()


def code(action):
    result = outcome(action)
    return result if isinstance(result, int) else 0


class Client:
    name = "confluent"
    strategies = list(STRATEGIES)
    finds_back = True
    patient_fetch = {"fetch.wait.max.ms": 10000, "fetch.min.bytes": 1}

    def __init__(self, bootstrap, **settings):
        self.bootstrap = bootstrap
        settings = {name if name == "error_cb" else name.replace("_", "."): value for name, value in settings.items()}
        self.quiet = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _error: None} | settings
        self.admin = AdminClient(self.quiet)

    # Topics.

    def create(self, topic, partitions=1, configs=None, replication=1, validate_only=False):
        new = NewTopic(topic, partitions, replication, config={name: str(value) for name, value in (configs or {}).items()})
        try:
            return code(self.admin.create_topics([new], validate_only=validate_only)[topic].result)
        except KafkaException as error:
            return error.args[0].code()

    def delete(self, topic):
        return code(self.admin.delete_topics([topic])[topic].result)

    def create_partitions(self, topic, total):
        return code(self.admin.create_partitions([NewPartitions(topic, total)])[topic].result)

    def topics(self):
        return set(self.admin.list_topics(timeout=PATIENCE).topics)

    def partitions(self, topic):
        """How many have a leader; None without such a topic."""
        found = self.admin.list_topics(topic, timeout=PATIENCE).topics[topic]
        return None if found.error else sum(partition.leader >= 0 for partition in found.partitions.values())

    def cluster(self):
        found = self.admin.list_topics(timeout=PATIENCE)
        return {"brokers": len(found.brokers), "controller": found.controller_id in found.brokers, "id": bool(found.cluster_id)}

    # Records.

    def produce(self, topic, records, partition=0, acks="all", codec="none", idempotent=False, largest=None):
        """Offsets in order; a code for a record that was refused."""
        settings = {"acks": acks, "compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 2, "message.timeout.ms": int(PATIENCE * 1000)}
        producer = Producer(self.quiet | settings | ({"message.max.bytes": largest} if largest else {}))
        results = [None] * len(records)
        for index, record in enumerate(records):
            def note(error, message, index=index):
                results[index] = {"code": error.code()} if error else message.offset()

            options = {"timestamp": record.time_ms} if record.time_ms is not None else {}
            producer.produce(topic, record.value, record.key, partition, note, headers=record.headers or None, **options)
        if producer.flush(PATIENCE):
            raise Late()
        return results

    def read(self, topic, count, start=0, partition=0, **settings):
        """So many records from an offset, or from "earliest" or "latest"; a code if that is refused."""
        consumer = Consumer(self.quiet | {"group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error", "check.crcs": True} | settings)
        place = {"earliest": -2, "latest": -1}.get(start, start)
        consumer.assign([TopicPartition(topic, partition, place)])
        got, deadline = [], time.monotonic() + PATIENCE
        try:
            while len(got) < count:
                message = consumer.poll(0.2)
                if message is None:
                    if time.monotonic() > deadline:
                        raise Late()
                elif message.error():
                    broken = message.error().code()
                    return KafkaError.OFFSET_OUT_OF_RANGE if broken == KafkaError._AUTO_OFFSET_RESET else broken
                else:
                    got.append(record_of(message))
            return got
        finally:
            consumer.close()

    def offset(self, topic, spec, partition=0):
        """"earliest", "latest", "max_timestamp", or the first at or after a time."""
        specs = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max_timestamp": OffsetSpec.max_timestamp}
        asked = specs[spec]() if spec in specs else OffsetSpec.for_timestamp(spec)
        place = TopicPartition(topic, partition)
        return outcome(lambda: self.admin.list_offsets({place: asked})[place].result().offset)

    def delete_records(self, topic, before, partition=0):
        place = TopicPartition(topic, partition, before)
        result = outcome(lambda: next(iter(self.admin.delete_records([place]).values())).result())
        return {"code": result} if isinstance(result, int) else result.low_watermark

    # Groups.

    def member(self, group, topics, strategy="range", instance=None):
        return Member(self.quiet, group, topics, strategy, instance)

    def group(self, group):
        found = self.admin.describe_consumer_groups([group])[group].result()
        return {"state": found.state.name.lower(), "assignor": found.partition_assignor, "members": len(found.members)}

    def groups(self):
        return {found.group_id for found in self.admin.list_consumer_groups().result().valid}

    def delete_group(self, group):
        return code(self.admin.delete_consumer_groups([group])[group].result)

    def committed(self, group):
        found = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
        return {(place.topic, place.partition): place.offset for place in found.topic_partitions}

    def set_committed(self, group, topic, offset, partition=0):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        found = outcome(lambda: self.admin.alter_consumer_group_offsets([asked])[group].result())
        return found if isinstance(found, int) else next((place.error.code() for place in found.topic_partitions if place.error), 0)

    # Configurations, rights.

    def configs(self, topic):
        resource = ConfigResource("topic", topic)
        found = outcome(lambda: self.admin.describe_configs([resource])[resource].result())
        return found if isinstance(found, int) else {name: (entry.value, entry.is_default) for name, entry in found.items()}

    def alter(self, topic, **changes):
        """None takes the topic's own value away."""
        entry = lambda name, value: ConfigEntry(name.replace("_", "."), None if value is None else str(value), incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET)
        resource = ConfigResource("topic", topic, incremental_configs=[entry(name, value) for name, value in changes.items()])
        return code(self.admin.incremental_alter_configs([resource])[resource].result)

    def encrypted(self, address, ca):
        return Client(address, security_protocol="SSL", ssl_ca_location=ca)

    def distrusts(self, address):
        """Whether it hangs up on a broker whose authority it does not know."""
        refused = []
        client = Client(address, security_protocol="SSL", error_cb=refused.append)
        return until(lambda: client.admin.poll(0.1) or any(refusal.code() == KafkaError._SSL for refusal in refused))

    def login(self, address, mechanism, user, password, action=None, ca=None):
        """What the action gives when logged in, or the number of the refusal."""
        refused = []
        settings = {"sasl_mechanism": mechanism, "sasl_username": user, "sasl_password": password} | ({"ssl_ca_location": ca} if ca else {})
        client = Client(address, security_protocol="SASL_SSL" if ca else "SASL_PLAINTEXT", error_cb=refused.append, **settings)
        if action:
            return action(client)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client.admin.list_topics(timeout=0.5)
                return 0
            except KafkaException as error:
                client.admin.poll(0)
                # It is told by the error callback, with a local code whatever the broker's was.
                if any(refusal.code() == KafkaError._AUTHENTICATION for refusal in refused):
                    return 58
                if time.monotonic() > deadline:
                    return error.args[0].code()

    def first_in_group(self, group, topic):
        """The first value that a member of the group gets, or the number of the refusal."""
        consumer = Consumer(self.quiet | {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": 10000})
        consumer.subscribe([topic])
        try:
            message = until(lambda: consumer.poll(0.2))
            return message.error().code() if message.error() else message.value().decode()
        finally:
            consumer.close()

    def allow(self, principal, operation, name, kind="topic"):
        binding = AclBinding(ResourceType[kind.upper()], name, ResourcePatternType.LITERAL, principal, "*", AclOperation[operation], AclPermissionType.ALLOW)
        return code(self.admin.create_acls([binding])[binding].result)

    def allowed(self, topic):
        found = self.admin.describe_acls(everything(topic)).result()
        return sorted([binding.principal, binding.operation.name, binding.permission_type.name, binding.host] for binding in found)

    def disallow(self, name, kind="topic"):
        asked = everything(name, kind)
        return len(self.admin.delete_acls([asked])[asked].result())


def everything(name, kind="topic"):
    return AclBindingFilter(ResourceType[kind.upper()], name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY)


def record_of(message):
    kind, time_ms = message.timestamp()
    headers = [(name, value) for name, value in message.headers() or []]
    kind = "append" if kind == TIMESTAMP_LOG_APPEND_TIME else "create"
    return Record(message.value(), message.key(), headers, time_ms, message.offset(), message.partition(), kind)


class Member:
    """A consumer in a group."""

    def __init__(self, quiet, group, topics, strategy, instance):
        settings = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "partition.assignment.strategy": STRATEGIES[strategy]}
        settings |= {"session.timeout.ms": 10000, "heartbeat.interval.ms": 300} | ({"group.instance.id": instance} if instance else {})
        self.consumer = Consumer(quiet | settings)
        self.consumer.subscribe(topics)
        self.closed = False

    def poll(self, seconds=0.1):
        """What has come by now."""
        message = self.consumer.poll(seconds)
        return [] if message is None or message.error() else [record_of(message)]

    def assignment(self):
        return sorted((place.topic, place.partition) for place in self.consumer.assignment())

    def identity(self):
        return self.consumer.memberid()

    def commit(self, topic, offset, partition=0, metadata=None):
        place = TopicPartition(topic, partition, offset, metadata) if metadata else TopicPartition(topic, partition, offset)
        return code(lambda: self.consumer.commit(offsets=[place], asynchronous=False))

    def committed(self, topic, partition=0):
        """Offset and metadata; None without a commit."""
        found = self.consumer.committed([TopicPartition(topic, partition)], PATIENCE)[0]
        return None if found.offset == OFFSET_INVALID else [found.offset, found.metadata or ""]

    def close(self):
        if not self.closed:
            self.consumer.close()
        self.closed = True
