// What every case needs: names, a connection, streams that are gone afterwards, waiting with a deadline.
'use strict';

const { connect } = require('@nats-io/transport-node');
const { jetstream, jetstreamManager, StorageType } = require('@nats-io/jetstream');

const PATIENCE = 60000; // milliseconds; how long an event may take that must come
const cases = {};

/** One case's view of the server. */
class Rig {
  constructor(name, options, restart) {
    this.options = options;
    this.restart = restart;
    this.stem = `${name}-js-${Date.now().toString(36)}${Math.floor(performance.now() * 1000) % 1000}`;
    this.open = [];
    this.made = [];
  }

  async start() {
    this.nc = await this.connect();
    this.js = jetstream(this.nc, { timeout: PATIENCE });
    this.jsm = await jetstreamManager(this.nc, { timeout: PATIENCE });
  }

  async connect(options = {}) {
    const nc = await connect({ servers: this.options.url, timeout: PATIENCE, maxReconnectAttempts: 200, reconnectTimeWait: 50, ...options });
    this.open.push(nc);
    return nc;
  }

  /** A stream that captures NAME.>. */
  async stream(config = {}) {
    this.made.push(config.name ?? this.stem);
    await this.jsm.streams.add({ name: this.stem, subjects: [`${this.stem}.>`], storage: StorageType.Memory, ...config });
    return this.stem;
  }

  async fill(count, subjects = 'a') {
    for (let number = 0; number < count; number++) await this.js.publish(`${this.stem}.${subjects[number % subjects.length]}`, String(number));
  }

  async publishMany(count) {
    const acks = await Promise.all(Array.from({ length: count }, (_, number) => this.js.publish(`${this.stem}.a`, String(number))));
    return acks.map((ack) => ack.seq);
  }

  async close() {
    for (const name of this.made) await this.jsm.streams.delete(name).catch(() => {}); // it may be gone already
    for (const nc of this.open) await nc.close();
  }
}

/** So many messages of a subscription or consumer. */
async function take(messages, count) {
  const found = [];
  if (count === 0) return found;
  for await (const message of messages) {
    found.push(message);
    if (found.length === count) break;
  }
  return found;
}

/** The number of a JetStream error, "ok", or a word for what went wrong. */
async function code(action) {
  try {
    await action;
    return 'ok';
  } catch (error) {
    if (error.code && typeof error.code === 'number') return error.code;
    if (/no ?responders/i.test(`${error.name} ${error.message} ${error.cause?.name}`)) return 'no responders';
    if (/timeout/i.test(`${error.name} ${error.message}`)) return 'timeout';
    throw error;
  }
}

/** Looks again and again whether something has happened. */
async function until(happened) {
  const deadline = Date.now() + PATIENCE;
  let found;
  while (!(found = await happened())) {
    if (Date.now() > deadline) throw new Error('late');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return found;
}

const bodies = (messages) => messages.map((message) => message.string());
const counted = (count) => Array.from({ length: count }, (_, number) => String(number));
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

module.exports = { PATIENCE, Rig, bodies, cases, code, counted, same, take, until };
