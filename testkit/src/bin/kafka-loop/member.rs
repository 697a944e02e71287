//! A member of the group: joins, is given partitions by whoever leads, reads them, commits, and now and then leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stele_testkit::kafka::{
    self, Answer, Body, FETCH, FIND_COORDINATOR, HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, OFFSET_COMMIT,
    OFFSET_FETCH, SYNC_GROUP, Wire, batch,
};
use stele_testkit::random::Random;

use crate::history::{Offset, Partition};
use crate::run::{self, GROUP, PARTITIONS, Shared, TOPIC};
use crate::writer;

const SESSION_MS: i32 = 10_000;
/// A member that left just before a kill is in the group again after it, and is waited for this long: shorter than most brokers of a run live.
const REBALANCE_MS: i32 = 1_000;
const BEAT: Duration = Duration::from_millis(200);
const WAIT_MS: i32 = 100;
/// One turn in so many is a member's last before it leaves.
const LEAVES_ONE_IN: u64 = 150;

const UNKNOWN_MEMBER: i16 = 25;
const ILLEGAL_GENERATION: i16 = 22;
const REBALANCE: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Where a member is.
#[derive(Default)]
struct Place {
    member: String,
    generation: i32,
    /// The offset to read next, by partition held.
    next: BTreeMap<Partition, Offset>,
}

/// Take part until told to stop.
pub(crate) fn take_part(shared: &Shared, seed: u64) {
    let mut random = Random::new(seed);
    let mut place = Place::default();
    while !shared.stopped() {
        if let Err(error) = session(shared, &mut random, &mut place)
            && !run::is_gone(&error)
        {
            shared.violation(format!("member {}: {error:#}", place.member));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// On one connection. A member that comes back goes on in its generation, if that is still the group's.
fn session(shared: &Shared, random: &mut Random, place: &mut Place) -> Result<()> {
    let mut wire = Wire::connect(shared.address)?;
    // Some brokers only make what keeps groups when somebody asks where it is.
    wire.ask(FIND_COORDINATOR, &Body::default().text(GROUP).i8(0))?;
    let mut beat = Instant::now();
    while !shared.stopped() {
        if place.next.is_empty() && !join(shared, &mut wire, place)? {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        if beat.elapsed() > BEAT {
            beat = Instant::now();
            let body = membership(Body::default().text(GROUP), place).null();
            let mut answer = wire.ask(HEARTBEAT, &body)?;
            answer.i32()?;
            if !stays(answer.i16()?, place)? {
                continue;
            }
        }
        fetch(shared, &mut wire, place)?;
        commit(shared, &mut wire, place)?;
        if random.below(LEAVES_ONE_IN) == 0 {
            wire.ask(LEAVE_GROUP, &Body::default().text(GROUP).text(&place.member))?;
            *place = Place::default();
        }
    }
    Ok(())
}

/// Whether the member still belongs to its generation; if not it has to join again.
fn stays(code: i16, place: &mut Place) -> Result<bool> {
    match code {
        0 => return Ok(true),
        UNKNOWN_MEMBER => *place = Place::default(),
        ILLEGAL_GENERATION | REBALANCE => place.next.clear(),
        code if run::not_ready(code) => std::thread::sleep(Duration::from_millis(50)),
        code => anyhow::bail!("error {code}"),
    }
    Ok(false)
}

fn membership(body: Body, place: &Place) -> Body {
    body.i32(place.generation).text(&place.member)
}

/// Join and sync; false if it has to be tried again.
fn join(shared: &Shared, wire: &mut Wire, place: &mut Place) -> Result<bool> {
    let body = Body::default().text(GROUP).i32(SESSION_MS).i32(REBALANCE_MS).text(&place.member).null();
    let mut answer = wire.ask(JOIN_GROUP, &body.text("mine").i32(1).text("split").bytes(b""))?;
    let (_, code, generation) = (answer.i32()?, answer.i16()?, answer.i32()?);
    let (_, leader, member) = (answer.text()?, answer.text()?, answer.text()?);
    if code == MEMBER_ID_REQUIRED {
        place.member = member;
        return Ok(false);
    }
    if !stays(code, place)? {
        return Ok(false);
    }
    let leads = leader == member;
    (place.member, place.generation) = (member, generation);
    let plan = if leads { plan(&mut answer)? } else { Vec::new() };
    let mut body = membership(Body::default().text(GROUP), place).null().i32(plan.len() as i32);
    for (member, partitions) in plan {
        body = body.text(&member).bytes(&partitions);
    }
    let mut answer = wire.ask(SYNC_GROUP, &body)?;
    let (_, code) = (answer.i32()?, answer.i16()?);
    if !stays(code, place)? {
        return Ok(false);
    }
    let given: Vec<Partition> = answer.bytes()?.into_iter().map(Partition::from).collect();
    let newest = given.iter().map(|partition| (*partition, shared.history().commit(*partition))).collect();
    given.iter().for_each(|partition| shared.history().given(place.generation, *partition, &place.member));
    resume(shared, wire, place, newest)?;
    Ok(!place.next.is_empty())
}

/// The leader's part: partitions in turn to the members, one byte each.
fn plan(joined: &mut Answer) -> Result<Vec<(String, Vec<u8>)>> {
    let mut members = Vec::new();
    for _ in 0..joined.count()? {
        members.push((joined.text()?, Vec::new()));
        joined.text()?;
        joined.bytes()?;
    }
    let count = members.len();
    ensure!(count > 0, "a group whose leader is not in it");
    for partition in 0..PARTITIONS {
        members[partition as usize % count].1.push(partition as u8);
    }
    Ok(members)
}

/// Ask where to go on. `known` was committed and acknowledged before.
fn resume(
    shared: &Shared,
    wire: &mut Wire,
    place: &mut Place,
    known: BTreeMap<Partition, Offset>,
) -> Result<()> {
    let mut body = Body::default().text(GROUP).i32(1).text(TOPIC).i32(known.len() as i32);
    for partition in known.keys() {
        body = body.i32(*partition as i32);
    }
    let mut answer = wire.ask(OFFSET_FETCH, &body)?;
    answer.i32()?;
    let mut next = BTreeMap::new();
    for _ in 0..answer.count()? {
        answer.text()?;
        for _ in 0..answer.count()? {
            let (partition, offset, _) = (answer.i32()? as Partition, answer.i64()?, answer.i32()?);
            let (_, code) = (answer.text()?, answer.i16()?);
            if code != 0 {
                ensure!(run::not_ready(code), "a committed offset is refused: error {code}");
                return Ok(());
            }
            let (found, known) =
                (u64::try_from(offset).unwrap_or(0), known.get(&partition).copied().unwrap_or(0));
            if found < known {
                shared
                    .violation(format!("a commit is forgotten: {partition} stands at {offset}, not {known}"));
            }
            next.insert(partition, found);
        }
    }
    if run::not_ready(answer.i16()?) {
        return Ok(());
    }
    place.next = next;
    Ok(())
}

fn fetch(shared: &Shared, wire: &mut Wire, place: &mut Place) -> Result<()> {
    for (partition, offset, value) in fetched(wire, &place.next)? {
        let record = writer::record(&value).with_context(|| format!("at {partition}/{offset}"))?;
        shared.history().read(partition, offset, record);
        place.next.insert(partition, offset + 1);
    }
    Ok(())
}

/// One fetch of all these places. A partition that is not ready yet gives nothing.
pub(crate) fn fetched(
    wire: &mut Wire,
    next: &BTreeMap<Partition, Offset>,
) -> Result<Vec<(Partition, Offset, Vec<u8>)>> {
    let places = next.iter().map(|(partition, offset)| (*partition as i32, *offset as i64)).collect();
    let answer = wire.ask(FETCH, &kafka::fetch(TOPIC, &places, WAIT_MS, 1 << 20))?;
    let mut found = Vec::new();
    for (partition, code, batches) in kafka::fetched(answer)? {
        ensure!(code == 0 || run::not_ready(code), "a fetch of {partition} is refused: error {code}");
        let partition = partition as Partition;
        let wanted = next.get(&partition).copied().context("a partition that nobody asked for")?;
        // A batch comes whole, also when only its end was asked for.
        let records = batch::records(&batches)?.into_iter().skip_while(|(offset, _)| *offset < wanted);
        for (wanted, (offset, value)) in (wanted..).zip(records) {
            ensure!(offset == wanted, "{partition}: offset {offset} instead of {wanted}");
            found.push((partition, offset, value));
        }
    }
    Ok(found)
}

fn commit(shared: &Shared, wire: &mut Wire, place: &mut Place) -> Result<()> {
    let newest = shared.history().generation();
    let head = membership(Body::default().text(GROUP), place).null();
    let mut body = head.i32(1).text(TOPIC).i32(place.next.len() as i32);
    for (partition, offset) in &place.next {
        body = body.i32(*partition as i32).i64(*offset as i64).i32(-1).text("");
    }
    let mut answer = wire.ask(OFFSET_COMMIT, &body)?;
    answer.i32()?;
    for _ in 0..answer.count()? {
        answer.text()?;
        for _ in 0..answer.count()? {
            let (partition, code) = (answer.i32()? as Partition, answer.i16()?);
            let Some(offset) = place.next.get(&partition).copied() else { continue };
            if stays(code, place)? {
                shared.history().committed(partition, offset, place.generation, newest);
            }
        }
    }
    Ok(())
}
