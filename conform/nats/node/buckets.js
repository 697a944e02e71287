// Key-value buckets and object stores.
'use strict';

const { StorageType } = require('@nats-io/jetstream');
const { Kvm } = require('@nats-io/kv');
const { Objm } = require('@nats-io/obj');
const { cases, code } = require('./rig.js');

async function bucket(rig, config = {}) {
  const name = rig.stem.replaceAll('-', '_');
  rig.made.push(`KV_${name}`);
  return new Kvm(rig.js).create(name, { storage: StorageType.Memory, ...config });
}

async function value(kv, key) {
  const entry = await kv.get(key);
  return entry === null ? 'unknown' : entry.operation === 'PUT' ? [entry.string(), entry.revision] : 'deleted';
}

cases.kv_values = async (rig) => {
  const kv = await bucket(rig);
  const revisions = [await kv.put('a', '1'), await kv.put('b', '2'), await kv.put('a', '3')];
  return [revisions, await value(kv, 'a'), await value(kv, 'b'), await value(kv, 'z')];
};

cases.kv_conditions = async (rig) => {
  const kv = await bucket(rig, { history: 5 });
  const first = await kv.create('a', '1');
  const again = await code(kv.create('a', '2'));
  const updated = await kv.update('a', '3', first);
  const stale = await code(kv.update('a', '4', first));
  await kv.delete('a');
  return [first, again, updated, stale, await kv.create('a', '5'), await value(kv, 'a')];
};

cases.kv_deleted_and_purged = async (rig) => {
  const kv = await bucket(rig, { history: 5 });
  for (const body of ['1', '2']) {
    await kv.put('a', body);
    await kv.put('b', body);
  }
  await kv.delete('a');
  await kv.purge('b');
  return [[(await value(kv, 'a')) === 'deleted', (await value(kv, 'b')) === 'deleted'], (await kv.status()).values];
};

cases.kv_history = async (rig) => {
  const kv = await bucket(rig, { history: 3 });
  for (const body of ['1', '2', '3', '4']) await kv.put('a', body);
  const found = [];
  for await (const entry of await kv.history({ key: 'a' })) found.push([entry.string(), entry.revision]);
  return found;
};

cases.kv_keys = async (rig) => {
  const kv = await bucket(rig);
  const keys = async () => {
    const found = [];
    for await (const key of await kv.keys()) found.push(key);
    return found.sort();
  };
  const none = await keys();
  for (const key of ['b', 'a', 'c.d']) await kv.put(key, '');
  await kv.delete('b');
  return [none, await keys()];
};

cases.kv_watched = async (rig) => {
  const kv = await bucket(rig);
  await kv.put('a', '1');
  const watcher = await kv.watch();
  const seen = [];
  for await (const entry of watcher) {
    seen.push([entry.key, entry.string(), entry.operation]);
    if (seen.length === 1) {
      await kv.put('b', '2');
      await kv.delete('a');
    }
    if (seen.length === 3) break;
  }
  return [seen, true];
};

cases.kv_status = async (rig) => {
  const kv = await bucket(rig, { history: 7, ttl: 60_000 });
  await kv.put('a', '1');
  const status = await kv.status();
  return [status.values, status.history, status.ttl / 1000];
};

async function store(rig) {
  const name = rig.stem.replaceAll('-', '_');
  rig.made.push(`OBJ_${name}`);
  return new Objm(rig.js).create(name, { storage: StorageType.Memory });
}

const text = (body) => new TextEncoder().encode(body);
const names = (infos) => infos.filter((info) => !info.deleted).map((info) => info.name).sort();

cases.object_stored = async (rig) => {
  const objects = await store(rig);
  const body = Buffer.alloc(256 * 2000, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  const info = await objects.putBlob({ name: 'thing' }, body);
  return { same: body.equals(await objects.getBlob('thing')), size: info.size, chunks: info.chunks, digest: info.digest };
};

cases.object_replaced_and_deleted = async (rig) => {
  const objects = await store(rig);
  await objects.putBlob({ name: 'thing' }, text('first'));
  await objects.putBlob({ name: 'thing' }, text('second'));
  const second = new TextDecoder().decode(await objects.getBlob('thing'));
  await objects.putBlob({ name: 'other' }, text('x'));
  const before = names(await objects.list());
  await objects.delete('thing');
  return [second, before, names(await objects.list())];
};
