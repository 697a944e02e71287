// Streams and consumers through the library.
'use strict';

const { AckPolicy, DeliverPolicy, StorageType } = require('@nats-io/jetstream');
const { PATIENCE, bodies, cases, code, counted, same, take, until } = require('./rig.js');

/** A consumer with explicit acks. */
async function pull(rig, config = {}) {
  await rig.jsm.consumers.add(rig.stem, { durable_name: 'c', ack_policy: AckPolicy.Explicit, ...config });
  return rig.js.consumers.get(rig.stem, 'c');
}

/** So many messages, in as many fetches as it takes. */
async function fetched(consumer, count) {
  const found = [];
  while (found.length < count) {
    const before = found.length;
    for await (const message of await consumer.fetch({ max_messages: count - found.length, expires: PATIENCE })) found.push(message);
    if (found.length === before) throw new Error('late');
  }
  return found;
}

cases.stream_made_and_shown = async (rig) => {
  await rig.stream({ max_msgs: 10, description: 'mine' });
  await rig.fill(3);
  const { config, state } = await rig.jsm.streams.info(rig.stem);
  return { name: config.name === rig.stem, subjects: same(config.subjects, [`${rig.stem}.>`]), max_msgs: config.max_msgs, description: config.description, messages: state.messages, first: state.first_seq, last: state.last_seq };
};

cases.stream_errors = async (rig) => {
  await rig.stream();
  return {
    unknown: await code(rig.jsm.streams.info('no-such')),
    taken: await code(rig.jsm.streams.add({ name: rig.stem, subjects: ['other'] })),
    overlap: await code(rig.jsm.streams.add({ name: `${rig.stem}-2`, subjects: [`${rig.stem}.a`] })),
  };
};

cases.stream_changed = async (rig) => {
  await rig.stream();
  await rig.fill(5);
  const { config } = await rig.jsm.streams.update(rig.stem, { subjects: [`${rig.stem}.>`, `${rig.stem}-more`], max_msgs: 2 });
  return [config.max_msgs, config.subjects.length, (await rig.jsm.streams.info(rig.stem)).state.messages];
};

cases.stream_found_by_subject = async (rig) => {
  await rig.stream();
  return (await rig.jsm.streams.find(`${rig.stem}.x`)) === rig.stem;
};

cases.stream_listed = async (rig) => {
  await rig.stream();
  let [listed, named] = [false, false];
  for await (const info of rig.jsm.streams.list()) listed = listed || info.config.name === rig.stem;
  for await (const name of rig.jsm.streams.names()) named = named || name === rig.stem;
  return [listed, named, true, true];
};

cases.stream_emptied = async (rig) => {
  await rig.stream();
  await rig.fill(6, 'ab');
  await rig.jsm.streams.purge(rig.stem, { filter: `${rig.stem}.a` });
  const filtered = (await rig.jsm.streams.info(rig.stem)).state.messages;
  await rig.jsm.streams.purge(rig.stem);
  const { state } = await rig.jsm.streams.info(rig.stem);
  return [filtered, state.messages, state.first_seq, state.last_seq];
};

cases.message_looked_up = async (rig) => {
  await rig.stream({ allow_direct: true });
  await rig.fill(4, 'ab');
  const bySeq = await rig.jsm.streams.getMessage(rig.stem, { seq: 2 });
  const last = await rig.jsm.streams.getMessage(rig.stem, { last_by_subj: `${rig.stem}.a` });
  const direct = await rig.jsm.direct.getMessage(rig.stem, { seq: 3 });
  await rig.jsm.streams.deleteMessage(rig.stem, 2);
  // The library answers nothing where the server says 10037.
  const none = async (seq) => ((await rig.jsm.streams.getMessage(rig.stem, { seq })) === null ? 10037 : 'there');
  return [bySeq.string(), bySeq.seq, last.string(), last.seq, direct.string(), await none(2), await none(99)];
};

cases.publish_is_acknowledged = async (rig) => {
  await rig.stream();
  const found = [];
  for (const msgID of ['1', '2', '1']) {
    const ack = await rig.js.publish(`${rig.stem}.a`, 'x', { msgID });
    found.push([ack.stream === rig.stem, ack.seq, ack.duplicate]);
  }
  return found;
};

cases.publish_is_refused = async (rig) => {
  await rig.stream({ max_msg_size: 120 });
  const put = (body, expect) => code(rig.js.publish(`${rig.stem}.a`, body, { expect }));
  return {
    stream: await put('', { streamName: 'other' }),
    sequence: await put('', { lastSequence: 7 }),
    subject: await put('', { lastSubjectSequence: 7 }),
    id: await put('', { lastMsgID: 'x' }),
    size: await put('x'.repeat(200), {}),
    good: await put('', { lastSequence: 0 }),
  };
};

cases.publish_many_at_once = async (rig) => {
  await rig.stream({ storage: StorageType.File });
  const places = (await rig.publishMany(500)).sort((a, b) => a - b);
  return [places.every((place, index) => place === index + 1), (await rig.jsm.streams.info(rig.stem)).state.messages];
};

cases.fetch_and_ack = async (rig) => {
  await rig.stream();
  await rig.fill(5);
  const consumer = await pull(rig);
  const found = await fetched(consumer, 3);
  for (const message of found) await message.ackAck();
  const info = await consumer.info();
  const meta = found[1].info;
  return { bodies: bodies(found), meta: [meta.streamSequence, meta.deliverySequence, meta.deliveryCount, meta.pending, meta.stream === rig.stem, meta.consumer], floor: [info.ack_floor.stream_seq, info.num_ack_pending, info.num_pending] };
};

cases.fetch_of_nothing = async (rig) => {
  await rig.stream();
  const consumer = await pull(rig);
  const found = [];
  for await (const message of await consumer.fetch({ max_messages: 1, expires: 1000 })) found.push(message);
  return bodies(found);
};

cases.fetch_much = async (rig) => {
  await rig.stream();
  await rig.publishMany(1000);
  const consumer = await pull(rig);
  const found = await fetched(consumer, 1000);
  for (const message of found) message.ack();
  await until(async () => {
    const info = await consumer.info();
    return info.num_ack_pending === 0 && info.ack_floor.stream_seq === 1000;
  });
  return [same(bodies(found), counted(1000)), true];
};

cases.consume_much = async (rig) => {
  await rig.stream();
  await rig.publishMany(2000);
  const consumer = await pull(rig);
  const found = [];
  const messages = await consumer.consume({ max_messages: 100 });
  for await (const message of messages) {
    found.push(message.string());
    message.ack();
    if (found.length === 2000) break;
  }
  await until(async () => (await consumer.info()).num_ack_pending === 0);
  return same(found, counted(2000));
};

cases.nak_and_term = async (rig) => {
  await rig.stream();
  await rig.fill(2);
  const consumer = await pull(rig);
  (await fetched(consumer, 1))[0].nak();
  const found = [...(await fetched(consumer, 1)), ...(await fetched(consumer, 1))].sort((a, b) => a.string().localeCompare(b.string()));
  found[0].term();
  found[1].working();
  await found[1].ackAck();
  await until(async () => (await consumer.info()).num_ack_pending === 0);
  return [bodies(found), found.map((message) => message.info.deliveryCount), (await consumer.info()).ack_floor.stream_seq];
};

cases.nak_for_later = async (rig) => {
  await rig.stream();
  await rig.fill(2);
  const consumer = await pull(rig);
  (await fetched(consumer, 1))[0].nak(300);
  const order = [];
  while (order.length < 2) {
    const [message] = await fetched(consumer, 1);
    message.ack();
    order.push(message.string());
  }
  return order;
};

cases.redelivered_when_the_lease_ends = async (rig) => {
  await rig.stream();
  await rig.fill(1);
  const consumer = await pull(rig, { ack_wait: 300_000_000, max_deliver: 3 });
  const counts = [];
  while (counts.length < 3) counts.push((await fetched(consumer, 1))[0].info.deliveryCount);
  return counts;
};

cases.consumer_made_and_shown = async (rig) => {
  await rig.stream();
  const info = await (await pull(rig, { max_ack_pending: 7, filter_subject: `${rig.stem}.a` })).info();
  const listed = [];
  for await (const found of rig.jsm.consumers.list(rig.stem)) listed.push(found.name);
  await rig.jsm.consumers.delete(rig.stem, 'c');
  return { name: info.name, max_ack_pending: info.config.max_ack_pending, ack_wait: info.config.ack_wait / 1e9, max_deliver: info.config.max_deliver, listed, gone: await code(rig.jsm.consumers.info(rig.stem, 'c')) };
};

cases.consumer_filters_many = async (rig) => {
  await rig.stream();
  await rig.fill(9, 'abc');
  return bodies(await fetched(await pull(rig, { filter_subjects: [`${rig.stem}.a`, `${rig.stem}.c`] }), 6));
};

cases.consumer_starts_where_told = async (rig) => {
  await rig.stream();
  await rig.fill(6, 'ab');
  const read = async (count, config) => {
    const { name } = await rig.jsm.consumers.add(rig.stem, { ack_policy: AckPolicy.None, ...config });
    return bodies(await fetched(await rig.js.consumers.get(rig.stem, name), count));
  };
  return {
    sequence: await read(2, { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 5 }),
    last: await read(1, { deliver_policy: DeliverPolicy.Last }),
    'last per subject': await read(2, { deliver_policy: DeliverPolicy.LastPerSubject, filter_subject: `${rig.stem}.*` }),
  };
};

cases.consumer_paused = async (rig) => {
  await rig.stream();
  await pull(rig);
  const paused = await rig.jsm.consumers.pause(rig.stem, 'c', new Date(Date.now() + 3_600_000));
  const resumed = await rig.jsm.consumers.resume(rig.stem, 'c');
  return [paused.paused, paused.pause_remaining > 3_000_000_000_000, resumed.paused];
};

cases.ordered_reading = async (rig) => {
  await rig.stream();
  await rig.publishMany(500);
  const consumer = await rig.js.consumers.get(rig.stem);
  return same(bodies(await take(await consumer.consume(), 500)), counted(500));
};

cases.account_is_shown = async (rig) => {
  await rig.stream();
  const info = await rig.jsm.getAccountInfo();
  return [info.streams > 0, info.api.level, info.limits.max_streams];
};

cases.state_survives_a_restart = async (rig) => {
  await rig.stream({ storage: StorageType.File });
  await rig.fill(4);
  const consumer = await pull(rig);
  for (const message of await fetched(consumer, 2)) await message.ackAck();
  let back = false;
  (async () => {
    for await (const status of rig.nc.status()) back = back || status.type === 'reconnect';
  })();
  if (!(await rig.restart())) return null;
  await until(() => back);
  await rig.nc.flush();
  return [(await rig.jsm.streams.info(rig.stem)).state.messages, bodies(await fetched(consumer, 2))];
};
