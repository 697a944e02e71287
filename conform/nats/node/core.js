// Messages, requests and services.
'use strict';

const { headers } = require('@nats-io/transport-node');
const { Svcm } = require('@nats-io/services');
const { PATIENCE, bodies, cases, code, take, until } = require('./rig.js');

cases.publish_and_subscribe = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem);
  rig.nc.publish(rig.stem, 'one');
  rig.nc.publish(rig.stem);
  return bodies(await take(subscription, 2));
};

cases.subscribe_by_wildcards = async (rig) => {
  const subscriptions = ['.*', '.>', '.a.*'].map((pattern) => rig.nc.subscribe(rig.stem + pattern));
  for (const subject of ['x', 'a.b', 'a.b.c']) rig.nc.publish(`${rig.stem}.${subject}`, subject);
  return [bodies(await take(subscriptions[0], 1)), bodies(await take(subscriptions[1], 3)), bodies(await take(subscriptions[2], 1))];
};

cases.headers_of_a_message = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem);
  const head = headers();
  head.set('A', '1');
  head.set('b-C', 'two words');
  rig.nc.publish(rig.stem, 'x', { headers: head });
  const [found] = await take(subscription, 1);
  return [{ A: found.headers.get('A'), 'b-C': found.headers.get('b-C') }, found.string()];
};

cases.headers_of_several_values = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem);
  const head = headers();
  for (const value of ['1', '2', '']) head.append('A', value);
  rig.nc.publish(rig.stem, '', { headers: head });
  const [found] = await take(subscription, 1);
  return found.headers.values('A');
};

cases.large_messages = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem);
  const body = Buffer.alloc(256 * 4000, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  rig.nc.publish(rig.stem, body);
  const [found] = await take(subscription, 1);
  return [body.equals(found.data), rig.nc.info.max_payload];
};

cases.queue_group_takes_each_once = async (rig) => {
  const got = [0, 0, 0];
  const all = new Set();
  for (const index of got.keys()) {
    const nc = await rig.connect();
    nc.subscribe(rig.stem, {
      queue: 'workers',
      callback: (_, message) => {
        got[index]++;
        all.add(message.string());
      },
    });
    await nc.flush();
  }
  for (let number = 0; number < 300; number++) rig.nc.publish(rig.stem, String(number));
  await until(() => got[0] + got[1] + got[2] >= 300);
  return { once: all.size === 300, 'all work': Math.min(...got) > 20 };
};

cases.unsubscribe_after = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem, { max: 2 });
  for (let number = 0; number < 4; number++) rig.nc.publish(rig.stem, String(number));
  const found = [];
  for await (const message of subscription) found.push(message);
  return bodies(found);
};

cases.request_is_answered = async (rig) => {
  rig.nc.subscribe(rig.stem, { callback: (_, message) => message.respond(`got ${message.string()}`) });
  await rig.nc.flush();
  const asker = await rig.connect();
  return (await asker.request(rig.stem, 'this', { timeout: PATIENCE })).string();
};

cases.request_to_nobody = (rig) => code(rig.nc.request(rig.stem, '', { timeout: PATIENCE }));

cases.request_without_an_answer = (rig) => {
  rig.nc.subscribe(rig.stem);
  return code(rig.nc.request(rig.stem, '', { timeout: 200 }));
};

cases.many_requests_at_once = async (rig) => {
  rig.nc.subscribe(rig.stem, { callback: (_, message) => message.respond(message.data) });
  await rig.nc.flush();
  const asker = await rig.connect();
  const asked = Array.from({ length: 200 }, (_, number) => asker.request(rig.stem, String(number), { timeout: PATIENCE }));
  return bodies(await Promise.all(asked)).every((body, number) => body === String(number));
};

cases.drain_takes_what_is_there = async (rig) => {
  const nc = await rig.connect();
  let count = 0;
  nc.subscribe(rig.stem, { callback: () => count++ });
  await nc.flush();
  for (let number = 0; number < 100; number++) rig.nc.publish(rig.stem, 'x');
  await rig.nc.flush();
  await nc.flush();
  await nc.drain();
  return [count, nc.isClosed()];
};

cases.no_echo = async (rig) => {
  const quiet = await rig.connect({ noEcho: true });
  const subscription = quiet.subscribe(rig.stem);
  quiet.publish(rig.stem, 'own');
  await quiet.flush();
  rig.nc.publish(rig.stem, 'other');
  return bodies(await take(subscription, 1));
};

cases.reconnects_and_goes_on = async (rig) => {
  const subscription = rig.nc.subscribe(rig.stem);
  await rig.nc.flush();
  let back = false;
  (async () => {
    for await (const status of rig.nc.status()) back = back || status.type === 'reconnect';
  })();
  if (!(await rig.restart())) return null;
  await until(() => back);
  await rig.nc.flush();
  rig.nc.publish(rig.stem, 'after');
  return bodies(await take(subscription, 1));
};

cases.service_requests = async (rig) => {
  const service = await new Svcm(rig.nc).add({ name: 'adder', version: '1.2.3', description: 'adds' });
  service.addEndpoint('add', {
    subject: rig.stem,
    handler: (error, message) => {
      if (message.string() === 'bad') return message.respondError(400, 'cannot add');
      return message.respond(String(message.string().split(' ').reduce((sum, word) => sum + Number(word), 0)));
    },
  });
  await rig.nc.flush();
  const asker = await rig.connect();
  const good = await asker.request(rig.stem, '1 2 3', { timeout: PATIENCE });
  const bad = await asker.request(rig.stem, 'bad', { timeout: PATIENCE });
  await service.stop();
  return [good.string(), bad.headers.get('Nats-Service-Error-Code'), bad.headers.get('Nats-Service-Error')];
};

cases.service_discovery = async (rig) => {
  const name = rig.stem.replaceAll('_', '-');
  const service = await new Svcm(rig.nc).add({ name, version: '1.2.3' });
  service.addEndpoint('do', { subject: rig.stem, handler: (error, message) => message.respond() });
  await rig.nc.flush();
  const asker = await rig.connect();
  await asker.request(rig.stem, '', { timeout: PATIENCE });
  const found = {};
  for (const verb of ['PING', 'INFO', 'STATS']) found[verb] = (await asker.request(`$SRV.${verb}.${name}`, '', { timeout: PATIENCE })).json();
  await service.stop();
  return { ping: found.PING.version, info: found.INFO.endpoints.map((endpoint) => endpoint.name), stats: found.STATS.endpoints.map((endpoint) => endpoint.num_requests), group: found.INFO.endpoints[0].queue_group };
};

cases.server_is_described = async (rig) => {
  const { info } = rig.nc;
  return { headers: info.headers, max_payload: info.max_payload, id: info.server_id.length, version: info.version !== '', rtt: (await rig.nc.rtt()) >= 0 };
};
