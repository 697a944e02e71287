// What every case needs: connections, names, waiting with a deadline, and answers without what differs between two runs.
// The same rules as in ../pika/rig.py, so that the same case gives the same answer.
'use strict';

const amqp = require('amqplib');

const PATIENCE = 60000; // milliseconds; how long an event may take that must come
const cases = {};

/** One case's view of the broker. */
class Rig {
  constructor(name, options) {
    this.name = name;
    this.options = options;
    this.connections = [];
    this.queues = new Set();
    this.exchanges = new Set();
  }

  async connect(url = this.options.url, socket = {}) {
    const connection = await amqp.connect(url, socket);
    connection.closedBy = null;
    connection.on('error', (error) => (connection.closedBy ??= refusal('connection', error)));
    this.connections.push(connection);
    return connection;
  }

  /** A channel in confirm mode that remembers why it was closed. */
  async channel(connection) {
    return watch(await (connection ?? (await this.connect())).createConfirmChannel());
  }

  async queue(channel, suffix = '', options = {}) {
    const name = this.name + suffix;
    await channel.deleteQueue(name);
    this.queues.add(name);
    await channel.assertQueue(name, { durable: false, ...options });
    return name;
  }

  async exchange(channel, kind, suffix = '', options = {}) {
    const name = this.name + suffix;
    await channel.deleteExchange(name);
    this.exchanges.add(name);
    await channel.assertExchange(name, kind, { durable: false, ...options });
    return name;
  }

  async bound(channel, exchange, suffix, key = '', binding = {}, options = {}) {
    const name = await this.queue(channel, suffix, options);
    await channel.bindQueue(name, exchange, key, binding);
    return name;
  }

  async close() {
    for (const connection of this.connections) await connection.close().catch(() => {}); // some cases end with a closed one
    const connection = await amqp.connect(this.options.url);
    const channel = await connection.createChannel();
    for (const name of this.queues) await channel.deleteQueue(name);
    for (const name of this.exchanges) await channel.deleteExchange(name);
    await connection.close();
  }
}

/** A consumer that keeps what it was given, in order. */
class Reader {
  static async start(channel, queue, options = {}) {
    const reader = new Reader();
    reader.channel = channel;
    reader.got = [];
    reader.cancelled = false;
    const answer = await channel.consume(queue, (message) => (message ? reader.got.push(message) : (reader.cancelled = true)), options);
    reader.tag = answer.consumerTag;
    return reader;
  }

  async wait(count) {
    await until(() => this.got.length >= count);
    return this;
  }

  get bodies() {
    return this.got.map((message) => message.content.toString());
  }

  get redelivered() {
    return this.got.map((message) => message.fields.redelivered);
  }

  get tags() {
    return this.got.map((message) => message.fields.deliveryTag);
  }
}

function watch(channel) {
  channel.closedBy = null;
  channel.on('error', (error) => (channel.closedBy ??= refusal('channel', error)));
  return channel;
}

/** `ok`, or what was closed with which code and text. */
async function attempt(channel, action) {
  try {
    await action(channel);
    return 'ok';
  } catch (error) {
    await until(() => channel.closedBy || channel.connection.closeEmitted || error.code);
    return channel.closedBy ?? refusal('channel', error);
  }
}

function refusal(what, error) {
  const found = /: (\d{3}) \([A-Z-]+\) with message "(.*)"/s.exec(error.message);
  return found ? [what, Number(found[1]), normal(found[2])] : [what, error.code ?? null, error.message];
}

/** A reply text without generated names. */
function normal(text) {
  return text.replace(/amq\.(gen|ctag)-[\w-]+/g, 'amq.$1-*');
}

/** Wait until something has happened; whether it has is looked at after every turn of the event loop's timers. */
async function until(happened) {
  const deadline = Date.now() + PATIENCE;
  while (!(await happened())) {
    if (Date.now() > deadline) throw new Error('late');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Publish in order, all confirmed at the end. */
async function publish(channel, key, bodies, { exchange = '', ...options } = {}) {
  for (const body of [].concat(bodies)) channel.publish(exchange, key, Buffer.from(body), options);
  await channel.waitForConfirms();
}

/** Exactly so many messages by basic.get, waited for. */
async function take(channel, queue, number = 1) {
  const taken = [];
  await until(async () => {
    const message = await channel.get(queue, { noAck: true });
    if (message) taken.push(message);
    return taken.length >= number;
  });
  return taken;
}

/** The bodies of all that is ready now. */
async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return bodies;
    bodies.push(message.content.toString());
  }
}

async function count(channel, queue) {
  return (await channel.checkQueue(queue)).messageCount;
}

/** The headers of a message, without times. */
function headers(message) {
  const table = structuredClone(message.properties.headers ?? {});
  for (const death of table['x-death'] ?? []) death.time = '<time>';
  return table;
}

module.exports = { Rig, Reader, cases, attempt, refusal, normal, until, publish, take, drain, count, headers, watch };
