// Records, as they are sent and read.
'use strict';

const { CompressionTypes } = require('kafkajs');
const { cases, offsets, until, values } = require('./rig.js');

const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));

cases.produce_acks = async (rig) => {
  const topic = await rig.topic();
  const producer = await rig.connected(rig.kafka.producer());
  for (const [acks, value] of [[0, '0'], [1, '1'], [-1, 'all']]) await producer.send({ topic, acks, messages: [{ value }] });
  const read = await rig.read(topic, 3);
  return { values: values(read), offsets: offsets(read) };
};

for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP], ['snappy', CompressionTypes.Snappy]]) {
  cases[`codec_${name}`] = async (rig) => {
    const topic = await rig.topic();
    const sent = numbers(50).map((number) => ({ value: `value ${number} `.repeat(20), key: `key ${number}`, headers: { codec: name } }));
    const placed = await rig.produce(topic, sent, { compression });
    const read = await rig.read(topic, 50);
    const plain = (message) => [String(message.key), String(message.value), String(message.headers.codec)].join();
    const in_order = String(placed) === String(offsets(read)) && placed.every((offset, index) => offset === index);
    return { in_order, same: read.every((message, index) => plain(message) === plain(sent[index])) };
  };
}

cases.order_and_offsets = async (rig) => {
  const topic = await rig.topic();
  const placed = await rig.produce(topic, numbers(2000));
  const read = await rig.read(topic, 2000);
  const counted = String(numbers(2000));
  return { placed: String(placed) === counted, read: String(values(read)) === counted, offsets: String(offsets(read)) === String(placed) };
};

cases.idempotent_producer = async (rig) => {
  const topic = await rig.topic();
  const placed = [...(await rig.produce(topic, numbers(500), { idempotent: true })), ...(await rig.produce(topic, numbers(500), { idempotent: true }))];
  const [ends] = await rig.admin.fetchTopicOffsets(topic);
  return { placed: String(placed) === String(numbers(1000)), end: Number(ends.high) };
};

cases.large_record = async (rig) => {
  const topic = await rig.topic();
  const body = Buffer.alloc(256 * 3600, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  await rig.produce(topic, [{ value: body }]);
  const [read] = await rig.read(topic, 1);
  return read.value.equals(body);
};

cases.record_too_large = async (rig) => {
  const topic = await rig.topic({ configs: { 'max.message.bytes': 1000 } });
  const placed = [];
  for (const size of [100, 2000, 100]) placed.push(...[await rig.produce(topic, ['x'.repeat(size)])].flat());
  return placed;
};

cases.compacted_needs_keys = async (rig) => {
  const topic = await rig.topic({ configs: { 'cleanup.policy': 'compact' } });
  const keyed = await rig.produce(topic, [{ key: 'k', value: 'v' }]);
  const bare = await rig.produce(topic, ['no key']);
  // KafkaJS does not know the code 87 and answers with -1.
  return [...keyed, bare.code === -1 || bare.code === 87 ? { code: 87 } : bare];
};

cases.read_from_offset = async (rig) => {
  const topic = await rig.topic();
  await rig.produce(topic, numbers(10));
  const answer = {};
  for (const start of [0, 3, 7, 'earliest']) answer[start] = values(await rig.read(topic, 2, start));
  return answer;
};

cases.read_from_inside_a_batch = async (rig) => {
  const topic = await rig.topic();
  await rig.produce(topic, numbers(20), { compression: CompressionTypes.GZIP });
  const read = await rig.read(topic, 3, 13);
  return { values: values(read), offsets: offsets(read) };
};

cases.list_offsets = async (rig) => {
  const topic = await rig.topic();
  const ends = async () => {
    const [found] = await rig.admin.fetchTopicOffsets(topic);
    return [Number(found.low), Number(found.high)];
  };
  const empty = await ends();
  const base = Date.now() - 100000;
  for (let step = 0; step < 4; step += 1) await rig.produce(topic, [{ value: 'x', timestamp: String(base + step * 1000) }]);
  const at = async (when) => Number((await rig.admin.fetchTopicOffsetsByTimestamp(topic, when))[0].offset);
  const found = { exact: await at(base + 1000), between: await at(base + 1500), before: await at(1000) };
  // Where nothing is late enough KafkaJS puts the end in the place of -1.
  const after = await at(base + 50000);
  return { empty, ends: await ends(), ...found, after: after === 4 ? -1 : after };
};

cases.waiting_read_is_woken = async (rig) => {
  const topic = await rig.topic();
  await rig.produce(topic, ['first']);
  const consumer = await rig.connected(rig.kafka.consumer({ groupId: rig.name(), maxWaitTimeInMs: 5000 }));
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const got = [];
  await consumer.run({ autoCommit: false, eachMessage: async () => void got.push(Date.now()) });
  await until(() => got.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 1000)); // by now it waits, for up to five seconds
  const sent = Date.now();
  await rig.produce(topic, ['second']);
  await until(() => got.length === 2);
  return got[1] - sent < 4500;
};
