// Connections, exchanges, queues: what is declared and what is refused.
'use strict';

const fs = require('node:fs');
const amqp = require('amqplib');
const { cases, Reader, attempt, refusal, normal, until, publish, take, drain, count } = require('./rig.js');

/** A fresh channel for every question, since a refusal closes it. */
async function ask(rig, connection, action) {
  return attempt(await rig.channel(connection), action);
}

cases.amqplain = async (rig) => {
  const channel = await rig.channel(await rig.connect(rig.options.url, { credentials: amqp.credentials.amqplain('guest', 'guest') }));
  return { open: Boolean(channel) };
};

cases.wrong_password = async (rig) => {
  const url = new URL(rig.options.url);
  url.password = 'wrong';
  return amqp.connect(url.href).then(() => 'ok', (error) => refusal('connection', error));
};

cases.many_channels = async (rig) => {
  const connection = await rig.connect();
  const channels = [];
  for (let number = 0; number < 2046; number++) channels.push(await connection.createChannel());
  const last = await rig.channel(connection);
  const queue = await rig.queue(channels[0]);
  await publish(last, queue, 'from the last');
  return { open: channels.length + 1, bodies: await drain(channels[0], queue) };
};

cases.channel_after_error = async (rig) => {
  const connection = await rig.connect();
  const closed = await ask(rig, connection, (channel) => channel.checkQueue('channel_after_error.missing'));
  const again = await rig.channel(connection);
  await again.prefetch(1);
  return { closed, reopened: true, connection: connection.closedBy === null };
};

cases.tls_connect = async (rig) => {
  const connection = await rig.connect(rig.options['tls-url'], { ca: [fs.readFileSync(rig.options.ca)], servername: 'localhost' });
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, 'over tls');
  return drain(channel, queue);
};

cases.exchange_types = async (rig) => {
  const connection = await rig.connect();
  const answers = {};
  for (const kind of ['direct', 'topic', 'fanout', 'headers']) {
    const name = await rig.exchange(await rig.channel(connection), kind, '.' + kind, { durable: true });
    answers[kind] = await ask(rig, connection, (channel) => channel.checkExchange(name));
  }
  return answers;
};

cases.predeclared_exchanges = async (rig) => {
  const connection = await rig.connect();
  const kinds = { 'amq.direct': 'direct', 'amq.topic': 'topic', 'amq.fanout': 'fanout', 'amq.headers': 'headers', 'amq.match': 'headers' };
  const answers = {};
  for (const [name, kind] of Object.entries(kinds)) {
    answers[name] = await ask(rig, connection, (channel) => channel.assertExchange(name, kind, { durable: true }));
  }
  return answers;
};

cases.unknown_exchange_404 = async (rig) => {
  const connection = await rig.connect();
  const missing = 'no.such.exchange';
  const queue = await rig.queue(await rig.channel(connection));
  return {
    passive: await ask(rig, connection, (channel) => channel.checkExchange(missing)),
    publish: await ask(rig, connection, async (channel) => {
      channel.publish(missing, 'key', Buffer.from('lost'));
      await channel.assertQueue('', { exclusive: true }); // the close comes before this reply
    }),
    bind: await ask(rig, connection, (channel) => channel.bindQueue(queue, missing, 'key')),
    exchange_bind: await ask(rig, connection, (channel) => channel.bindExchange(missing, 'amq.direct', 'key')),
    delete: await ask(rig, connection, (channel) => channel.deleteExchange(missing)),
  };
};

cases.unknown_exchange_type = async (rig) =>
  attempt(await rig.channel(), (channel) => channel.assertExchange('unknown_exchange_type', 'no-such-type', { durable: false }));

cases.inequivalent_exchange_406 = async (rig) => {
  const connection = await rig.connect();
  const name = await rig.exchange(await rig.channel(connection), 'direct');
  const again = (kind, options) => ask(rig, connection, (channel) => channel.assertExchange(name, kind, { durable: false, ...options }));
  return {
    same: await again('direct', {}),
    type: await again('fanout', {}),
    durable: await again('direct', { durable: true }),
    auto_delete: await again('direct', { autoDelete: true }),
    internal: await again('direct', { internal: true }),
    alternate: await again('direct', { alternateExchange: 'amq.fanout' }),
  };
};

cases.exchange_delete = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const name = await rig.exchange(channel, 'fanout');
  await rig.bound(channel, name, '.queue');
  return {
    used: await ask(rig, connection, (other) => other.deleteExchange(name, { ifUnused: true })),
    delete: await ask(rig, connection, (other) => other.deleteExchange(name)),
    again: await ask(rig, connection, (other) => other.deleteExchange(name)),
    passive: await ask(rig, connection, (other) => other.checkExchange(name)),
  };
};

cases.internal_exchange_403 = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const inner = await rig.exchange(channel, 'fanout', '', { internal: true });
  const outer = await rig.exchange(channel, 'fanout', '.outer');
  await channel.bindExchange(inner, outer, '');
  const queue = await rig.bound(channel, inner, '.queue');
  await publish(channel, '', 'through the outer', { exchange: outer });
  const direct = await ask(rig, connection, async (other) => {
    other.publish(inner, 'key', Buffer.from('x'));
    await other.checkQueue(queue);
  });
  return { direct, bound: await drain(channel, queue) };
};

cases.direct_and_fanout = async (rig) => {
  const channel = await rig.channel();
  const direct = await rig.exchange(channel, 'direct', '.direct');
  const fanout = await rig.exchange(channel, 'fanout', '.fanout');
  const one = await rig.bound(channel, direct, '.one', 'a');
  await channel.bindQueue(one, direct, 'b');
  await channel.bindQueue(one, fanout, 'ignored');
  const two = await rig.bound(channel, direct, '.two', 'a');
  for (const key of ['a', 'b', 'c']) await publish(channel, key, 'direct ' + key, { exchange: direct });
  await publish(channel, 'whatever', 'fanout', { exchange: fanout });
  return { one: await drain(channel, one), two: await drain(channel, two) };
};

cases.alternate_exchange = async (rig) => {
  const channel = await rig.channel();
  const last = await rig.exchange(channel, 'fanout', '.last');
  const middle = await rig.exchange(channel, 'direct', '.middle', { alternateExchange: last });
  const first = await rig.exchange(channel, 'direct', '.first', { alternateExchange: middle });
  const routed = await rig.bound(channel, first, '.routed', 'a');
  const fallen = await rig.bound(channel, middle, '.fallen', 'b');
  const caught = await rig.bound(channel, last, '.caught');
  for (const key of ['a', 'b', 'c']) await publish(channel, key, key, { exchange: first });
  const lost = await rig.exchange(channel, 'direct', '.lost', { alternateExchange: 'no.such.exchange' });
  await publish(channel, 'mandatory', 'mandatory', { exchange: first, mandatory: true });
  const missing = await attempt(channel, () => publish(channel, 'x', 'x', { exchange: lost }));
  return { routed: await drain(channel, routed), fallen: await drain(channel, fallen), caught: await drain(channel, caught), missing };
};

cases.e2e_binding = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const first = await rig.exchange(channel, 'topic', '.first');
  const second = await rig.exchange(channel, 'direct', '.second');
  const queue = await rig.bound(channel, second, '.queue', 'a.b');
  await channel.bindExchange(second, first, 'a.#');
  await channel.bindExchange(first, second, 'a.b'); // a cycle
  await publish(channel, 'a.b', 'through two', { exchange: first });
  await publish(channel, 'a.c', 'matches only the first', { exchange: first });
  const through = await drain(channel, queue);
  await channel.unbindExchange(second, first, 'a.#');
  await publish(channel, 'a.b', 'unbound', { exchange: first });
  return {
    through,
    unbound: await drain(channel, queue),
    unknown_binding: await ask(rig, connection, (other) => other.unbindExchange(second, first, 'never')),
  };
};

cases.headers_exchange_void = async (rig) => {
  const channel = await rig.channel();
  const exchange = await rig.exchange(channel, 'headers');
  const present = await rig.bound(channel, exchange, '.present', '', { a: null, 'x-match': 'all' });
  const both = await rig.bound(channel, exchange, '.both', '', { a: null, b: 2, 'x-match': 'all' });
  const messages = { a: { a: 1 }, 'a void': { a: null }, b: { b: 1 }, ab: { a: [1], b: 2 } };
  for (const [body, table] of Object.entries(messages)) await publish(channel, '', body, { exchange, headers: table });
  return { present: await drain(channel, present), both: await drain(channel, both) };
};

cases.declare_counts = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel, '', { durable: true });
  await publish(channel, queue, ['1', '2', '3']);
  const first = await channel.assertQueue(queue, { durable: true });
  const other = await rig.channel(connection);
  await other.prefetch(1);
  await (await Reader.start(other, queue)).wait(1);
  const second = await channel.assertQueue(queue, { durable: true });
  return [first, second].map((answer) => [answer.queue, answer.messageCount, answer.consumerCount]);
};

cases.server_named_queue = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const name = (await channel.assertQueue('', { exclusive: true })).queue;
  await channel.bindQueue('', 'amq.fanout', ''); // the last queue declared on this channel
  await publish(channel, '', 'to the last', { exchange: 'amq.fanout' });
  const got = await channel.get('', { noAck: true });
  const other = (await channel.assertQueue('', { exclusive: true })).queue;
  return {
    name: normal(name),
    fresh: name !== other,
    got: got.content.toString(),
    none_declared: await ask(rig, connection, (fresh) => fresh.checkQueue('')),
    purge_none: await ask(rig, connection, (fresh) => fresh.purgeQueue('')),
  };
};

cases.passive_404 = async (rig) => {
  const connection = await rig.connect();
  const missing = 'passive_404.missing';
  return {
    declare: await ask(rig, connection, (channel) => channel.checkQueue(missing)),
    consume: await ask(rig, connection, (channel) => channel.consume(missing, () => {})),
    get: await ask(rig, connection, (channel) => channel.get(missing)),
    purge: await ask(rig, connection, (channel) => channel.purgeQueue(missing)),
    bind: await ask(rig, connection, (channel) => channel.bindQueue(missing, 'amq.direct', 'x')),
    unbind: await ask(rig, connection, (channel) => channel.unbindQueue(missing, 'amq.direct', 'x')),
    delete: await ask(rig, connection, (channel) => channel.deleteQueue(missing)),
  };
};

cases.inequivalent_arg_406 = async (rig) => {
  const connection = await rig.connect();
  const given = { durable: true, messageTtl: 60000, maxLength: 10, deadLetterExchange: 'amq.direct' };
  const name = await rig.queue(await rig.channel(connection), '', given);
  const again = (options) => ask(rig, connection, (channel) => channel.assertQueue(name, { ...given, ...options }));
  return {
    same: await again({}),
    number_of_another_width: await again({ maxLength: { '!': 'int64', value: 10 } }),
    durable: await again({ durable: false }),
    auto_delete: await again({ autoDelete: true }),
    exclusive: await again({ exclusive: true }),
    other_value: await again({ messageTtl: 60001 }),
    missing: await again({ deadLetterExchange: undefined }),
    one_more: await again({ expires: 60000 }),
    unknown_argument: await again({ arguments: { 'x-unheard-of': 1 } }),
    passive_ignores_all: await ask(rig, connection, (channel) => channel.checkQueue(name)),
  };
};

cases.exclusive_405 = async (rig) => {
  const name = 'exclusive_405';
  const [owner, other] = [await rig.connect(), await rig.connect()];
  const own = await rig.channel(owner);
  await own.assertQueue(name, { exclusive: true, durable: false });
  const refused = {
    declare: await ask(rig, other, (channel) => channel.assertQueue(name, { exclusive: true, durable: false })),
    passive: await ask(rig, other, (channel) => channel.checkQueue(name)),
    consume: await ask(rig, other, (channel) => channel.consume(name, () => {})),
    get: await ask(rig, other, (channel) => channel.get(name)),
    bind: await ask(rig, other, (channel) => channel.bindQueue(name, 'amq.direct', 'x')),
    purge: await ask(rig, other, (channel) => channel.purgeQueue(name)),
    delete: await ask(rig, other, (channel) => channel.deleteQueue(name)),
  };
  await publish(await rig.channel(other), name, 'anyone may publish');
  const owner_got = await drain(own, name);
  await owner.close();
  const look = () => ask(rig, other, (channel) => channel.checkQueue(name));
  await until(async () => (await look())[1] === 404);
  return { refused, owner_got, after_close: await look() };
};

cases.auto_delete = async (rig) => {
  const connection = await rig.connect();
  const queue = await rig.queue(await rig.channel(connection), '', { autoDelete: true });
  const look = () => ask(rig, connection, (channel) => channel.checkQueue(queue));
  const before = await look();
  const [one, two] = [await rig.channel(connection), await rig.channel(connection)];
  const first = await Reader.start(one, queue);
  await Reader.start(two, queue);
  await one.cancel(first.tag);
  const one_left = await look();
  await two.close(); // the channel's end is the consumer's end
  return { before, one_left, none_left: await look() };
};

cases.queue_delete = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, ['1', '2']);
  const not_empty = await ask(rig, connection, (other) => other.deleteQueue(queue, { ifEmpty: true }));
  const reading = await rig.channel(connection);
  const reader = await Reader.start(reading, queue);
  const used = await ask(rig, connection, (other) => other.deleteQueue(queue, { ifUnused: true }));
  await reader.wait(2);
  await reading.close();
  await until(async () => (await count(channel, queue)) === 2);
  const deleted = (await channel.deleteQueue(queue)).messageCount;
  const again = (await channel.deleteQueue(queue)).messageCount;
  return { not_empty, used, deleted, again };
};

cases.purge_ready_only = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, ['1', '2', '3']);
  const holder = await rig.channel(connection);
  const held = await holder.get(queue);
  const purged = (await channel.purgeQueue(queue)).messageCount;
  holder.reject(held, true);
  await holder.prefetch(0);
  return { purged, left: (await take(channel, queue)).map((message) => message.content.toString()) };
};

cases.transient_queue = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel, '', { durable: false });
  await publish(channel, queue, 'kept while it runs');
  return drain(channel, queue);
};
