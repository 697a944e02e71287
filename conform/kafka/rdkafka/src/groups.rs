//! Groups: who reads which partition, what is committed, and what the administrator sees.

use anyhow::Result;
use rdkafka::admin::AdminOptions;
use serde_json::{Value, json};

use crate::rig::{Case, Got, Member, Rig, Sent, offsets, until, values};

pub(crate) const CASES: &[Case] = &[
    Case { name: "group_reads_all", run: group_reads_all },
    Case { name: "group_goes_on_where_it_committed", run: group_goes_on },
    Case { name: "group_range", run: |rig| two_members(rig, "range") },
    Case { name: "group_roundrobin", run: |rig| two_members(rig, "roundrobin") },
    Case { name: "group_cooperative", run: |rig| two_members(rig, "cooperative") },
    Case { name: "more_members_than_partitions", run: more_members_than_partitions },
    Case { name: "delete_group", run: delete_group },
    Case { name: "two_groups", run: two_groups },
];

fn fill(rig: &Rig<'_>, topic: &str, partitions: i32) -> Result<()> {
    for partition in 0..partitions {
        let value = |number| Sent { value: format!("{partition}.{number}"), ..Sent::default() };
        let sent: Vec<Sent> = (0..10).map(value).collect();
        rig.produce((topic, partition), &sent, &[])?;
    }
    Ok(())
}

fn collect(member: &Member, count: usize) -> Result<Vec<Got>> {
    let mut got = Vec::new();
    until(|| {
        got.extend(member.take());
        Ok((got.len() >= count).then_some(()))
    })?;
    Ok(got)
}

/// Poll until the members have so many partitions each, in any order, and none is held twice; what each holds.
fn settle(members: &[&Member], sizes: &[usize]) -> Result<Vec<Vec<i32>>> {
    let mut wanted = sizes.to_vec();
    wanted.sort_unstable();
    until(|| {
        members.iter().for_each(|member| drop(member.take()));
        let held = members.iter().map(|member| member.assignment()).collect::<Result<Vec<_>>>()?;
        let mut found: Vec<usize> = held.iter().map(Vec::len).collect();
        found.sort_unstable();
        let mut every: Vec<i32> = held.iter().flatten().copied().collect();
        every.sort_unstable();
        every.dedup();
        Ok((found == wanted && every.len() == wanted.iter().sum::<usize>()).then_some(held))
    })
}

fn group_reads_all(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(3, &[])?;
    fill(rig, &topic, 3)?;
    let member = rig.member(&rig.name(), &topic, "range")?;
    let got = collect(&member, 30)?;
    let in_order = (0..3).all(|partition| {
        let mine = got.iter().filter(|one| one.partition == partition).map(|one| one.offset);
        mine.eq(0..10)
    });
    Ok(json!({ "count": got.len(), "in_order": in_order, "assignment": member.assignment()? }))
}

fn group_goes_on(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    fill(rig, &topic, 1)?;
    let member = rig.member(&rig.name(), &topic, "range")?;
    collect(&member, 10)?;
    let (before, code, committed) = (member.committed()?, member.commit(7)?, member.committed()?);
    drop(member);
    let rest = collect(&rig.member(&rig.name(), &topic, "range")?, 3)?;
    Ok(json!({ "before": before, "code": code, "committed": committed, "rest": values(&rest) }))
}

fn two_members(rig: &mut Rig<'_>, strategy: &str) -> Result<Value> {
    let topic = rig.topic(4, &[])?;
    let first = rig.member(&rig.name(), &topic, strategy)?;
    settle(&[&first], &[4])?;
    let second = rig.member(&rig.name(), &topic, strategy)?;
    settle(&[&first, &second], &[2, 2])?;
    let (state, assignor, members) = rig.group(&rig.name())?;
    drop(second);
    settle(&[&first], &[4])?;
    Ok(json!({ "state": state, "assignor": assignor.replace("-sticky", ""), "members": members }))
}

fn more_members_than_partitions(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(rig.member(&rig.name(), &topic, "range")?);
    }
    let held = settle(&members.iter().collect::<Vec<_>>(), &[1, 0, 0])?;
    members.retain({
        let mut held = held.iter();
        move |_| held.next().is_some_and(Vec::is_empty)
    });
    settle(&members.iter().collect::<Vec<_>>(), &[1, 0])?;
    Ok(json!("the next one takes over"))
}

fn delete_group(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let group = rig.name();
    let member = rig.member(&group, &topic, "range")?;
    settle(&[&member], &[1])?;
    member.commit(0)?;
    let remove = || rig.code(rig.admin.delete_groups(&[&group], &AdminOptions::new()));
    let busy = remove()?;
    drop(member);
    until(|| Ok((rig.group(&group)?.2 == 0).then_some(())))?;
    let (empty, again) = (remove()?, remove()?);
    let listed = rig.admin.inner().fetch_group_list(None, crate::rig::PATIENCE)?;
    let listed = listed.groups().iter().any(|one| one.name() == group);
    Ok(json!({ "busy": busy, "empty": empty, "again": again, "listed": listed }))
}

fn two_groups(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    fill(rig, &topic, 1)?;
    let mut read = Vec::new();
    for suffix in [".a", ".b"] {
        let member = rig.member(&(rig.name() + suffix), &topic, "range")?;
        read.push(offsets(&collect(&member, 10)?).len());
    }
    Ok(json!(read))
}
