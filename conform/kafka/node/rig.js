// What every case needs: names, topics, producers and readers, waiting with a deadline.
'use strict';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs');

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');

const PATIENCE = 60000; // milliseconds; how long an event may take that must come
const cases = {};
const retry = { retries: 5, initialRetryTime: 50 };

/** One case's view of the broker. */
class Rig {
  constructor(name, options, security = {}) {
    this.options = options;
    this.stem = `${name}-kafkajs-${Date.now().toString(16)}`;
    this.kafka = new Kafka({ brokers: [options.bootstrap], logLevel: logLevel.NOTHING, retry, ...security });
    this.admin = this.kafka.admin();
    this.topics = [];
    this.open = [];
  }

  async start() {
    await this.admin.connect();
  }

  name(suffix = '') {
    return this.stem + suffix;
  }

  /** A topic that will be there and must be gone afterwards. */
  expect(topic) {
    this.topics.push(topic);
    return topic;
  }

  create(topic, numPartitions = 1, configs = {}, more = {}) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value: String(value) }));
    return code(() => this.admin.createTopics({ topics: [{ topic, numPartitions, configEntries, ...more }], waitForLeaders: false }));
  }

  async topic({ suffix = '', partitions = 1, configs = {} } = {}) {
    const topic = this.expect(this.name(suffix));
    const failed = await this.create(topic, partitions, configs);
    if (failed) throw new Error(`${topic} could not be created: ${failed}`);
    await until(async () => (await this.partitions(topic)) === partitions);
    return topic;
  }

  /** How many have a leader; null without such a topic. */
  async partitions(topic) {
    try {
      const found = await this.admin.fetchTopicMetadata({ topics: [topic] });
      return found.topics[0].partitions.filter((partition) => partition.leader >= 0).length;
    } catch (error) {
      if ((error.cause ?? error).code === 3) return null;
      throw error;
    }
  }

  async connected(what) {
    this.open.push(what);
    await what.connect();
    return what;
  }

  /** Offsets in order, or the code with which all were refused. */
  async produce(topic, values, { partition = 0, idempotent = false, ...options } = {}) {
    const producer = await this.connected(this.kafka.producer({ idempotent, retry: idempotent ? { retries: 1000, initialRetryTime: 50 } : retry }));
    const messages = values.map((value) => ({ partition, ...(typeof value === 'object' ? value : { value }) }));
    try {
      const [placed] = await producer.send({ topic, messages, ...options });
      return messages.map((_, index) => Number(placed.baseOffset) + index);
    } catch (error) {
      return { code: (error.cause ?? error).code };
    } finally {
      await producer.disconnect();
    }
  }

  /** So many records from an offset or a word, without a group that matters. */
  async read(topic, count, start = 0, partition = 0) {
    const reader = await this.member(this.name(`.reader${this.open.length}`), [topic], { from: start === 'latest' ? 'latest' : 'earliest' });
    if (typeof start === 'number') reader.consumer.seek({ topic, partition, offset: String(start) });
    await until(() => reader.got.filter((message) => message.partition === partition).length >= count);
    await reader.close();
    return reader.got.filter((message) => message.partition === partition).slice(0, count);
  }

  async member(groupId, topics, options = {}) {
    const member = new Member(this.kafka, groupId, options);
    this.open.push({ disconnect: () => member.close() });
    await member.start(topics, options.from ?? 'earliest');
    return member;
  }

  async close() {
    for (const what of this.open) await what.disconnect();
    for (const topic of this.topics) await this.admin.deleteTopics({ topics: [topic] }).catch(() => {}); // some are not there any more
    await this.admin.disconnect();
  }
}

/** A consumer in a group that keeps what it was given. */
class Member {
  constructor(kafka, groupId, { assigners } = {}) {
    this.consumer = kafka.consumer({ groupId, heartbeatInterval: 300, sessionTimeout: 10000, maxWaitTimeInMs: 200, retry, ...(assigners ? { partitionAssigners: assigners } : {}) });
    this.got = [];
    this.held = [];
    this.closed = false;
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.held = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) => partitions.map((partition) => `${topic} ${partition}`));
    });
    this.consumer.on(this.consumer.events.REBALANCING, () => (this.held = []));
  }

  async start(topics, from) {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics, fromBeginning: from === 'earliest' });
    await this.consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => void this.got.push({ partition, ...message }) });
  }

  async wait(count) {
    await until(() => this.got.length >= count);
    return this;
  }

  async close() {
    if (!this.closed) await this.consumer.disconnect();
    this.closed = true;
  }
}

/** Until the members have so many partitions each, in any order, and none is held twice. */
function settle(members, sizes) {
  return until(() => {
    const every = members.flatMap((member) => member.held);
    const found = members.map((member) => member.held.length).sort();
    return String(found) === String([...sizes].sort()) && new Set(every).size === every.length;
  });
}

/** 0, or the number of the error. */
async function code(action) {
  try {
    await action();
    return 0;
  } catch (error) {
    const cause = error.errors?.[0] ?? error.groups?.[0]?.error ?? error.cause ?? error;
    return cause.code ?? String(error);
  }
}

/** Wait until something has happened; what it was. */
async function until(happened) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await happened();
    if (found) return found;
    if (Date.now() > deadline) throw new Error('late');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const values = (got) => got.map((message) => message.value.toString());
const offsets = (got) => got.map((message) => Number(message.offset));

module.exports = { Rig, cases, settle, code, until, values, offsets, retry };
