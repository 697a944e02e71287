// Topics and configurations.
'use strict';

const { ConfigResourceTypes } = require('kafkajs');
const { cases, code, until, values } = require('./rig.js');

cases.create_topic = async (rig) => {
  const topic = await rig.topic({ partitions: 3 });
  const listed = (await rig.admin.listTopics()).includes(topic);
  // KafkaJS answers false, and not with an error, when the topic is there already.
  const again = (await rig.admin.createTopics({ topics: [{ topic }] })) ? 0 : 36;
  return { partitions: await rig.partitions(topic), listed, again };
};

cases.create_no_partitions = (rig) => rig.create(rig.name(), 0);

cases.create_bad_configs = async (rig) => {
  const configs = { unknown: { 'no.such.thing': 1 }, word: { 'retention.ms': 'soon' }, policy: { 'cleanup.policy': 'shred' }, negative: { 'max.message.bytes': -1 } };
  const answer = {};
  for (const [what, config] of Object.entries(configs)) answer[what] = await rig.create(rig.name(), 1, config);
  return answer;
};

cases.delete_topic = async (rig) => {
  const topic = await rig.topic();
  const remove = (name) => code(() => rig.admin.deleteTopics({ topics: [name] }));
  const first = await remove(topic);
  await until(async () => !(await rig.admin.listTopics()).includes(topic));
  return { code: first, again: await remove(topic), never_there: await remove(rig.name('.never')) };
};

cases.create_partitions = async (rig) => {
  const topic = await rig.topic({ partitions: 2 });
  await rig.produce(topic, ['kept']);
  const grow = (name, count) => code(() => rig.admin.createPartitions({ topicPartitions: [{ topic: name, count }] }));
  const more = await grow(topic, 4);
  await until(async () => (await rig.partitions(topic)) === 4);
  const codes = { more, same: await grow(topic, 4), fewer: await grow(topic, 1), unknown: await grow(rig.name('.never'), 2) };
  const last = await rig.produce(topic, ['in the new one'], { partition: 3 });
  return { ...codes, kept: values(await rig.read(topic, 1)), in_new: last };
};

cases.auto_create = async (rig) => {
  const topic = rig.expect(rig.name());
  const placed = await rig.produce(topic, ['a', 'b']);
  return { offsets: placed, partitions: await rig.partitions(topic), read: values(await rig.read(topic, 2)) };
};

cases.cluster = async (rig) => {
  const found = await rig.admin.describeCluster();
  const nodes = found.brokers.map((broker) => broker.nodeId);
  return { brokers: nodes.length, controller: nodes.includes(found.controller), id: Boolean(found.clusterId) };
};

async function configs(rig, topic) {
  const found = await rig.admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] });
  return Object.fromEntries(found.resources[0].configEntries.map((entry) => [entry.configName, [entry.configValue, entry.configSource !== 1]]));
}

cases.created_with_configs = async (rig) => {
  const topic = await rig.topic({ configs: { 'retention.ms': 60000, 'cleanup.policy': 'compact,delete', 'max.message.bytes': 2000 } });
  const found = await configs(rig, topic);
  return Object.fromEntries(['retention.ms', 'cleanup.policy', 'max.message.bytes', 'segment.bytes'].map((name) => [name, found[name]]));
};
