// Publishing, consuming, limits: what happens to messages.
'use strict';

const crypto = require('node:crypto');
const { cases, Reader, attempt, until, publish, take, drain, count, headers } = require('./rig.js');

const toQueue = (target) => ({ deadLetterExchange: '', deadLetterRoutingKey: target });

cases.publish_confirm = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel, '', { durable: true });
  const answers = { confirmed: 0, refused: 0 };
  for (let number = 0; number < 200; number++) {
    const options = { deliveryMode: 2 - (number % 2) };
    channel.publish('', queue, Buffer.from(String(number)), options, (error) => answers[error ? 'refused' : 'confirmed']++);
  }
  await channel.waitForConfirms();
  const bodies = await drain(channel, queue);
  return { ...answers, in_order: bodies.every((body, number) => body === String(number)) && bodies.length === 200 };
};

cases.mandatory_return_before_confirm = async (rig) => {
  const channel = await rig.channel();
  const events = [];
  channel.on('return', (message) => events.push(message));
  const options = { mandatory: true, messageId: 'm1', headers: { a: 1 } };
  channel.publish('amq.direct', 'nowhere', Buffer.from('back to sender'), options, () => events.push('Basic.Ack'));
  await until(() => events.length === 2);
  const [back, then] = events;
  return {
    return: [back.fields.replyCode, back.fields.replyText, back.fields.exchange, back.fields.routingKey],
    properties: [back.properties.messageId, back.properties.headers],
    body: back.content.toString(),
    then: [then, 1],
  };
};

cases.reject_publish = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel, '', { maxLength: 2, arguments: { 'x-overflow': 'reject-publish' } });
  const refused = [];
  for (const body of ['1', '2', '3']) {
    await new Promise((resolve) => channel.publish('', queue, Buffer.from(body), {}, (error) => resolve(error && refused.push(body))));
  }
  const kept = await drain(channel, queue);
  await publish(channel, queue, '4');
  return { refused: refused.join(), kept, room_again: await drain(channel, queue) };
};

cases.large_body = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel);
  const body = Buffer.alloc(8 << 20, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
  await publish(channel, queue, [body, Buffer.alloc(0)]);
  const [first, second] = await take(channel, queue, 2);
  return { bytes: first.content.length, intact: digest(first.content) === digest(body), empty: second.content.length };
};

cases.user_id = async (rig) => {
  const connection = await rig.connect();
  const queue = await rig.queue(await rig.channel(connection));
  const as = async (userId) =>
    attempt(await rig.channel(connection), async (channel) => {
      channel.publish('', queue, Buffer.from('x'), { userId });
      await channel.checkQueue(queue);
    });
  return { own: await as('guest'), of_another: await as('somebody') };
};

cases.direct_reply_to = async (rig) => {
  const connection = await rig.connect();
  const server = await rig.channel(connection);
  const queue = await rig.queue(server);
  const client = await connection.createChannel();
  const pseudo = 'amq.rabbitmq.reply-to';
  const answers = await Reader.start(client, pseudo, { noAck: true });
  client.publish('', queue, Buffer.from('question'), { replyTo: pseudo, correlationId: '7' });
  const [question] = await take(server, queue);
  const address = question.properties.replyTo;
  const reply = Buffer.from('answer to ' + question.content);
  server.publish('', address, reply, { correlationId: question.properties.correlationId, mandatory: true });
  await answers.wait(1);
  const ask = async (action) => attempt(await rig.channel(connection), action);
  return {
    address: address.startsWith(pseudo + '.'),
    answers: answers.got.map((message) => [message.fields.exchange, message.properties.correlationId, message.content.toString()]),
    manual_ack: await ask((channel) => channel.consume(pseudo, () => {})),
    without_consumer: await ask(async (channel) => {
      channel.publish('', queue, Buffer.from('x'), { replyTo: pseudo });
      await channel.checkQueue(queue);
    }),
  };
};

cases.basic_get = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel);
  const empty = (await channel.get(queue)) === false;
  await publish(channel, queue, ['1', '2', '3']);
  const first = await channel.get(queue);
  const second = await channel.get(queue, { noAck: true });
  channel.reject(first, true);
  const again = await channel.get(queue);
  const shown = ({ fields }) => [fields.deliveryTag, fields.redelivered, fields.messageCount];
  return {
    empty,
    first: [...shown(first), first.content.toString()],
    second: shown(second),
    again: [...shown(again), again.content.toString()],
  };
};

cases.consume_and_ack = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, [...'12345']);
  const reader = await (await Reader.start(await rig.channel(connection), queue)).wait(5);
  reader.channel.ack(reader.got[1], true);
  reader.channel.ack(reader.got[3]);
  await reader.channel.close();
  await until(async () => (await count(channel, queue)) === 2);
  return { bodies: reader.bodies, tags: reader.tags, left: await drain(channel, queue) };
};

cases.nack_multiple = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, [...'1234']);
  const reader = await (await Reader.start(await rig.channel(connection), queue)).wait(4);
  reader.channel.nack(reader.got[1], true, true);
  await reader.wait(6);
  reader.channel.nackAll(false);
  await reader.channel.prefetch(0);
  return { bodies: reader.bodies, redelivered: reader.redelivered, left: await count(channel, queue) };
};

cases.requeue_keeps_place = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel);
  await publish(channel, queue, [...'12345']);
  const held = [];
  for (let number = 0; number < 4; number++) held.push(await channel.get(queue));
  for (const at of [2, 0, 3, 1]) channel.nack(held[at], false, true);
  const got = await take(channel, queue, 5);
  return got.map((message) => [message.content.toString(), message.fields.redelivered]);
};

cases.qos_per_consumer = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, [...'123456789']);
  const reading = await rig.channel(connection);
  await reading.prefetch(2);
  const two = await (await Reader.start(reading, queue)).wait(2);
  await reading.prefetch(3); // for consumers that start from now on
  const three = await (await Reader.start(reading, queue)).wait(3);
  const ready = await count(channel, queue);
  const first = [two.bodies, three.bodies];
  reading.ack(two.got[0]);
  await two.wait(3);
  return { first, ready, after_an_ack: two.bodies };
};

cases.qos_global = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  await publish(channel, queue, [...'123456']);
  const reading = await rig.channel(connection);
  await reading.prefetch(3, true);
  const [one, two] = [await Reader.start(reading, queue), await Reader.start(reading, queue)];
  const got = () => one.got.length + two.got.length;
  await until(() => got() >= 3);
  const in_flight_and_ready = [got(), await count(channel, queue)];
  reading.ackAll();
  await until(() => got() >= 6);
  return { in_flight_and_ready, all: [...one.bodies, ...two.bodies].sort() };
};

cases.exclusive_consumer_403 = async (rig) => {
  const connection = await rig.connect();
  const queue = await rig.queue(await rig.channel(connection));
  const first = await Reader.start(await rig.channel(connection), queue, { exclusive: true });
  const consume = async (options) => attempt(await rig.channel(connection), (channel) => channel.consume(queue, () => {}, options));
  const second = await consume({});
  await first.channel.cancel(first.tag);
  const normal = await Reader.start(await rig.channel(connection), queue);
  return { second, exclusive_beside_another: await consume({ exclusive: true }), normal: Boolean(normal.tag) };
};

cases.consumer_priority = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  const readers = {};
  for (const [name, priority] of [['low', -1], ['default', undefined], ['high', 5]]) {
    const reading = await rig.channel(connection);
    await reading.prefetch(2);
    readers[name] = await Reader.start(reading, queue, { priority });
  }
  await publish(channel, queue, [...'12345']);
  await readers.high.wait(2);
  await readers.default.wait(2);
  await readers.low.wait(1);
  const bad = await attempt(await rig.channel(connection), (other) => other.consume(queue, () => {}, { arguments: { 'x-priority': 'high' } }));
  return { got: Object.fromEntries(Object.entries(readers).map(([name, reader]) => [name, reader.bodies])), bad };
};

cases.single_active_consumer = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel, '', { arguments: { 'x-single-active-consumer': true } });
  const readers = [];
  for (let number = 0; number < 3; number++) readers.push(await Reader.start(await rig.channel(connection), queue));
  await publish(channel, queue, [...'123']);
  await readers[0].wait(3);
  readers[0].channel.ackAll();
  await readers[0].channel.cancel(readers[0].tag);
  await publish(channel, queue, [...'45']);
  await readers[1].wait(2);
  await readers[1].channel.close(); // unacknowledged: the next in line gets them
  await readers[2].wait(2);
  const exclusive = await attempt(await rig.channel(connection), (other) => other.consume(queue, () => {}, { exclusive: true }));
  return { got: readers.map((reader) => reader.bodies), redelivered: readers[2].redelivered, exclusive };
};

cases.cancel_notify = async (rig) => {
  const connection = await rig.connect();
  const channel = await rig.channel(connection);
  const queue = await rig.queue(channel);
  const reader = await Reader.start(await rig.channel(connection), queue);
  await channel.deleteQueue(queue);
  await until(() => reader.cancelled);
  return { cancelled: reader.cancelled, channel: reader.channel.closedBy === null };
};

cases.ttl_queue = async (rig) => {
  const channel = await rig.channel();
  const target = await rig.queue(channel, '.target');
  const queue = await rig.queue(channel, '', { messageTtl: 100, ...toQueue(target) });
  await publish(channel, queue, ['1', '2']);
  const got = await take(channel, target, 2);
  return {
    bodies: got.map((message) => message.content.toString()),
    headers: headers(got[0]),
    expiration: got[0].properties.expiration ?? null,
    left: await count(channel, queue),
  };
};

cases.expiration_per_message = async (rig) => {
  const channel = await rig.channel();
  const target = await rig.queue(channel, '.target');
  const queue = await rig.queue(channel, '', toQueue(target));
  await publish(channel, queue, 'x', { expiration: '50' });
  const [got] = await take(channel, target);
  return { body: got.content.toString(), headers: headers(got), expiration: got.properties.expiration ?? null };
};

cases.maxlen_drop_head = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel, '', { maxLength: 2 });
  await publish(channel, queue, [...'12345']);
  await until(async () => (await count(channel, queue)) === 2);
  return drain(channel, queue);
};

cases.dead_letter_rejected_x_death = async (rig) => {
  const channel = await rig.channel();
  const exchange = await rig.exchange(channel, 'topic', '.dlx');
  const target = await rig.bound(channel, exchange, '.target', '#');
  const queue = await rig.queue(channel, '', { deadLetterExchange: exchange });
  await publish(channel, queue, 'bad', { headers: { mine: 1 }, messageId: 'm1', deliveryMode: 2 });
  channel.reject(await channel.get(queue), false);
  const [got] = await take(channel, target);
  return {
    key: got.fields.routingKey,
    exchange: got.fields.exchange,
    redelivered: got.fields.redelivered,
    headers: headers(got),
    message_id: got.properties.messageId,
    mode: got.properties.deliveryMode,
    body: got.content.toString(),
  };
};

cases.dead_letter_count_grows = async (rig) => {
  const channel = await rig.channel();
  const waiting = rig.name + '.waiting';
  const queue = await rig.queue(channel, '', toQueue(waiting));
  await rig.queue(channel, '.waiting', { messageTtl: 30, ...toQueue(queue) });
  await publish(channel, queue, 'again');
  for (let round = 0; round < 3; round++) {
    await until(async () => (await count(channel, queue)) === 1);
    channel.reject(await channel.get(queue), false);
  }
  const [got] = await take(channel, queue);
  return headers(got);
};

cases.priority_queue = async (rig) => {
  const channel = await rig.channel();
  const queue = await rig.queue(channel, '', { maxPriority: 5 });
  const sent = [['none', undefined], ['one', 1], ['five', 5], ['nine', 9], ['zero', 0], ['five again', 5], ['three', 3]];
  for (const [body, priority] of sent) await publish(channel, queue, body, { priority });
  return drain(channel, queue);
};

cases.delivery_limit_quorum = async (rig) => {
  const channel = await rig.channel();
  const target = await rig.queue(channel, '.target', { durable: true });
  const options = { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 }, ...toQueue(target) };
  const queue = await rig.queue(channel, '', options);
  await publish(channel, queue, 'x');
  const seen = [];
  for (;;) {
    let got = false;
    await until(async () => (got = await channel.get(queue)) || (await count(channel, target)) > 0);
    if (!got) break;
    const table = got.properties.headers ?? {};
    seen.push([got.fields.redelivered, table['x-delivery-count'] ?? null, table['x-acquired-count'] ?? null]);
    channel.reject(got, true);
  }
  const table = headers((await take(channel, target))[0]);
  return { seen, 'x-death': table['x-death'], reason: table['x-first-death-reason'], 'x-delivery-count': table['x-delivery-count'] ?? null };
};
