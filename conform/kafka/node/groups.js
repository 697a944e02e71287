// Groups, as their members and the administrator see them.
'use strict';

const { cases, code, settle, until, values } = require('./rig.js');

async function fill(rig, topic, partitions) {
  for (let partition = 0; partition < partitions; partition += 1) {
    await rig.produce(topic, Array.from({ length: 10 }, (_, number) => `${partition}.${number}`), { partition });
  }
}

async function described(rig, group) {
  const [found] = (await rig.admin.describeGroups([group])).groups;
  return { state: found.state.toLowerCase(), assignor: found.protocol, members: found.members.length };
}

cases.group_reads_all = async (rig) => {
  const topic = await rig.topic({ partitions: 3 });
  await fill(rig, topic, 3);
  const member = await rig.member(rig.name(), [topic]);
  await member.wait(30);
  const order = [0, 1, 2].map((partition) => member.got.filter((message) => message.partition === partition).map((message) => Number(message.offset)));
  const in_order = order.every((offsets) => String(offsets) === '0,1,2,3,4,5,6,7,8,9');
  return { count: member.got.length, in_order, assignment: member.held.map((place) => Number(place.split(' ')[1])).sort() };
};

cases.group_goes_on_where_it_committed = async (rig) => {
  const topic = await rig.topic();
  await fill(rig, topic, 1);
  const group = rig.name();
  const member = await rig.member(group, [topic]);
  await member.wait(10);
  const committed = async () => {
    const [found] = (await rig.admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions;
    return found.offset === '-1' ? null : [Number(found.offset), found.metadata ?? ''];
  };
  const before = await committed();
  const result = await code(() => member.consumer.commitOffsets([{ topic, partition: 0, offset: '7' }]));
  const after = await committed();
  await member.close();
  const other = await rig.member(group, [topic]);
  await other.wait(3);
  return { before, code: result, committed: after, rest: values(other.got) };
};

cases.group_roundrobin = async (rig) => {
  const topic = await rig.topic({ partitions: 4 });
  const first = await rig.member(rig.name(), [topic]);
  await settle([first], [4]);
  const second = await rig.member(rig.name(), [topic]);
  await settle([first, second], [2, 2]);
  const seen = await described(rig, rig.name());
  await second.close();
  await settle([first], [4]);
  return { ...seen, assignor: seen.assignor.replace('RoundRobinAssigner', 'roundrobin') };
};

cases.more_members_than_partitions = async (rig) => {
  const topic = await rig.topic();
  const members = [];
  for (let index = 0; index < 3; index += 1) members.push(await rig.member(rig.name(), [topic]));
  await settle(members, [1, 0, 0]);
  const holder = members.findIndex((member) => member.held.length);
  await members.splice(holder, 1)[0].close();
  await settle(members, [1, 0]);
  return 'the next one takes over';
};

cases.group_states = async (rig) => {
  const topic = await rig.topic();
  const group = rig.name();
  const member = await rig.member(group, [topic]);
  await settle([member], [1]);
  await member.consumer.commitOffsets([{ topic, partition: 0, offset: '0' }]);
  const stable = await described(rig, group);
  const listed = (await rig.admin.listGroups()).groups.some((found) => found.groupId === group);
  await member.close();
  const empty = await until(async () => {
    const found = await described(rig, group);
    return found.members === 0 && found;
  });
  return { stable: [stable.state, stable.members], listed, empty: [empty.state, empty.members] };
};

cases.delete_group = async (rig) => {
  const topic = await rig.topic();
  const group = rig.name();
  const member = await rig.member(group, [topic]);
  await settle([member], [1]);
  await member.consumer.commitOffsets([{ topic, partition: 0, offset: '0' }]);
  const remove = () => code(() => rig.admin.deleteGroups([group]));
  const busy = await remove();
  await member.close();
  await until(async () => (await described(rig, group)).members === 0);
  const answer = { busy, empty: await remove(), again: await remove() };
  return { ...answer, listed: (await rig.admin.listGroups()).groups.some((found) => found.groupId === group) };
};

cases.two_groups = async (rig) => {
  const topic = await rig.topic();
  await fill(rig, topic, 1);
  const members = [await rig.member(rig.name('.a'), [topic]), await rig.member(rig.name('.b'), [topic])];
  for (const member of members) await member.wait(10);
  return members.map((member) => member.got.length);
};
