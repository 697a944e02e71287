"""Groups: who reads which partition, what is committed, and what the administrator sees."""

import time
from concurrent.futures import ThreadPoolExecutor

from rig import PATIENCE, Unable, case, records, until, values


def fill(rig, topic, partitions):
    for partition in range(partitions):
        rig.client.produce(topic, records(*(f"{partition}.{number}" for number in range(10))), partition=partition)


def poll(members):
    """What each is given. They are polled at once: what a join of kafka-python 3.0 came to between two polls of that member is thrown away, and it
    joins again, for ever where each waits for the other's poll."""
    with ThreadPoolExecutor(len(members)) as threads:
        return list(threads.map(lambda member: member.poll(), members))


def collect(members, count):
    """Poll all members until they have so many records together."""
    got = [[] for _ in members]

    def enough():
        for mine, more in zip(got, poll(members)):
            mine.extend(more)
        return sum(map(len, got)) >= count

    until(enough, pause=0)
    return got


def settle(members, sizes):
    """Poll until the members have so many partitions each, in any order, and none is held twice."""

    def settled():
        poll(members)
        held = [member.assignment() for member in members]
        every = [place for places in held for place in places]
        return sorted(map(len, held)) == sorted(sizes) and len(every) == len(set(every)) and held

    return until(settled, pause=0)


@case
def group_reads_all(rig):
    topic = rig.topic(partitions=3)
    fill(rig, topic, 3)
    member = rig.member(rig.name(), [topic])
    (got,) = collect([member], 30)
    in_order = all([record.offset for record in got if record.partition == partition] == list(range(10)) for partition in range(3))
    return {"count": len(got), "in_order": in_order, "assignment": [partition for _, partition in member.assignment()]}


@case
def group_goes_on_where_it_committed(rig):
    topic = rig.topic()
    fill(rig, topic, 1)
    group = rig.name()
    member = rig.member(group, [topic])
    collect([member], 10)
    nothing = member.committed(topic)
    codes = member.commit(topic, 7)
    committed = member.committed(topic)
    member.close()
    other = rig.member(group, [topic])
    (rest,) = collect([other], 3)
    return {"before": nothing, "code": codes, "committed": committed, "rest": values(rest)}


@case
def commit_metadata(rig):
    topic = rig.topic()
    member = rig.member(rig.name(), [topic])
    settle([member], [1])
    short, long = member.commit(topic, 1, metadata="a note"), member.commit(topic, 2, metadata="x" * 5000)
    return {"short": short, "long": long, "committed": member.committed(topic)}


def two_members(strategy):
    def run(rig):
        if strategy not in rig.client.strategies:
            raise Unable()
        topic = rig.topic(partitions=4)
        group = rig.name()
        first = rig.member(group, [topic], strategy=strategy)
        settle([first], [4])
        second = rig.member(group, [topic], strategy=strategy)
        settle([first, second], [2, 2])
        seen = rig.client.group(group)
        second.close()
        settle([first], [4])
        return {"state": seen["state"], "assignor": seen["assignor"].replace("-sticky", ""), "members": seen["members"]}

    run.__name__ = f"group_{strategy}"
    case(run)


for one in ("range", "roundrobin", "sticky", "cooperative"):
    two_members(one)


@case
def more_members_than_partitions(rig):
    topic = rig.topic()
    members = [rig.member(rig.name(), [topic]) for _ in range(3)]
    held = settle(members, [1, 0, 0])
    holder = next(index for index, places in enumerate(held) if places)
    members.pop(holder).close()
    settle(members, [1, 0])
    return "the next one takes over"


@case
def new_partitions_are_assigned(rig):
    topic = rig.topic()
    groups = rig.name()
    fill(rig, topic, 1)
    member = rig.member(groups, [topic])
    collect([member], 10)
    member.close()
    rig.client.create_partitions(topic, 3)
    until(lambda: rig.client.partitions(topic) == 3)
    member = rig.member(groups, [topic])
    return [partition for _, partition in settle([member], [3])[0]]


@case
def static_member(rig):
    topic = rig.topic(partitions=2)
    group = rig.name()
    first, second = (rig.member(group, [topic], instance=f"instance-{index}") for index in range(2))
    before = settle([first, second], [1, 1])
    second.close()
    back = rig.member(group, [topic], instance="instance-1")
    after = settle([first, back], [1, 1])
    return {"same": before == after, "members": rig.client.group(group)["members"]}


@case
def group_states(rig):
    topic = rig.topic()
    group = rig.name()
    member = rig.member(group, [topic])
    settle([member], [1])
    member.commit(topic, 0)
    stable = rig.client.group(group)
    listed = group in rig.client.groups()
    member.close()
    empty = until(lambda: (found := rig.client.group(group))["members"] == 0 and found)
    return {"stable": [stable["state"], stable["members"]], "listed": listed, "empty": [empty["state"], empty["members"]]}


@case
def delete_group(rig):
    topic = rig.topic()
    group = rig.name()
    member = rig.member(group, [topic])
    settle([member], [1])
    member.commit(topic, 0)
    busy = rig.client.delete_group(group)
    member.close()
    until(lambda: rig.client.group(group)["members"] == 0)
    return {"busy": busy, "empty": rig.client.delete_group(group), "again": rig.client.delete_group(group), "listed": group in rig.client.groups()}


@case
def committed_seen_by_admin(rig):
    topic = rig.topic(partitions=2)
    group = rig.name()
    member = rig.member(group, [topic])
    settle([member], [2])
    member.commit(topic, 5, 1)
    member.close()
    return {str(partition): offset for (_, partition), offset in rig.client.committed(group).items()}


@case
def committed_set_by_admin(rig):
    topic = rig.topic()
    fill(rig, topic, 1)
    group = rig.name()
    code = rig.client.set_committed(group, topic, 8)
    member = rig.member(group, [topic])
    (got,) = collect([member], 2)
    busy = rig.client.set_committed(group, topic, 1)
    return {"code": code, "read": values(got), "while_busy": busy}


@case
def committed_after_restart(rig):
    topic = rig.topic()
    fill(rig, topic, 1)
    group = rig.name()
    member = rig.member(group, [topic])
    collect([member], 10)
    member.commit(topic, 6, metadata="kept")
    member.close()
    if not rig.restart():
        return None
    other = rig.member(group, [topic])
    (rest,) = collect([other], 4)
    return {"rest": values(rest), "committed": other.committed(topic)}


@case
def group_lives_through_a_restart(rig):
    topic = rig.topic(partitions=2)
    fill(rig, topic, 2)
    member = rig.member(rig.name(), [topic])
    collect([member], 20)
    if not rig.restart():
        return None
    until(lambda: rig.client.produce(topic, records("after")) == [10])
    got = []
    until(lambda: got.extend(member.poll()) or "after" in values(got), pause=0)
    committed = until(lambda: member.commit(topic, 11) == 0)
    return {"reads_on": True, "commits": committed, "held": len(member.assignment())}


@case
def two_groups(rig):
    topic = rig.topic()
    fill(rig, topic, 1)
    members = [rig.member(rig.name(suffix), [topic]) for suffix in (".a", ".b")]
    got = [list(members[0].poll()), []]
    deadline = time.monotonic() + PATIENCE
    while min(map(len, got)) < 10 and time.monotonic() < deadline:
        for member, mine in zip(members, got):
            mine.extend(member.poll())
    return [len(mine) for mine in got]
