//! Compares a machine with one that has only read the log: from the first block (W12), and from the newest snapshot on (W13).

use crate::desk::Desk;
use crate::log::{Image, SimLog};
use crate::mutant::Bent;
use bytes::Bytes;
use stele_core::runner::Runner;
use stele_core::shard::Shard;
use stele_hub::{Registry, Setup};
use stele_model::id::{Lsn, Place, ShardId};
use stele_model::log::Block;
use stele_model::machine::Machine;

/// One turn in so many is looked at.
const ONE_IN: u64 = 16;

pub(super) fn shard(runner: &Runner<Bent<Shard>, SimLog>, id: ShardId, desk: &mut Desk) {
    if !runner.settled() || !desk.step.is_multiple_of(ONE_IN) {
        return;
    }
    let live = runner.machine().inner().logged();
    let image = runner.log().image();
    if let Some(restored) = report(from_snapshot(&image, Shard::restore), "W13", desk)
        && restored.logged() != live
    {
        let what = format!(
            "shard {id}: snapshot and rest differ from the live state: {:?}, not {live:?}",
            restored.logged()
        );
        desk.oracle.violate("W13", desk.step, what);
    }
    if let Some(replayed) = report(from_start(&image, || Shard::new(id)), "W12", desk)
        && replayed.logged() != live
    {
        let what = format!(
            "shard {id}: a replay differs from the live state: {:?}, not {live:?}",
            replayed.logged()
        );
        desk.oracle.violate("W12", desk.step, what);
    }
}

pub(super) fn registry(runner: &Runner<Registry, SimLog>, setup: &Setup, desk: &mut Desk) {
    if !runner.settled() || !desk.step.is_multiple_of(ONE_IN) {
        return;
    }
    let live = runner.machine().logged();
    let image = runner.log().image();
    let restore = |chunks: &[Bytes]| Registry::restore(setup.clone(), chunks);
    if let Some(restored) = report(from_snapshot(&image, restore), "W13", desk)
        && restored.logged() != live
    {
        desk.oracle.violate("W13", desk.step, "the registry's snapshot and rest differ from it".to_owned());
    }
    if let Some(replayed) = report(from_start(&image, || Registry::new(setup.clone())), "W12", desk)
        && replayed.logged() != live
    {
        desk.oracle.violate("W12", desk.step, "a replay of the registry differs from it".to_owned());
    }
}

fn report<M>(machine: Result<Option<M>, String>, rule: &'static str, desk: &mut Desk) -> Option<M> {
    match machine {
        Ok(machine) => machine,
        Err(why) => {
            desk.oracle.violate(rule, desk.step, why);
            None
        }
    }
}

/// A machine that has read all; `None` if the first blocks are gone.
fn from_start<M: Machine>(image: &Image, new: impl FnOnce() -> M) -> Result<Option<M>, String> {
    let mut machine = new();
    read(&mut machine, image, Lsn(0)).map(|whole| whole.then_some(machine))
}

/// A machine that has read the newest snapshot and what follows; `None` if there is none.
fn from_snapshot<M: Machine>(
    image: &Image,
    restore: impl FnOnce(&[Bytes]) -> Result<M, String>,
) -> Result<Option<M>, String> {
    let Some((lsn, chunks)) = &image.snapshot else { return Ok(None) };
    let mut machine = restore(chunks)?;
    if read(&mut machine, image, *lsn)? {
        Ok(Some(machine))
    } else {
        Err("blocks above the snapshot are gone".to_owned())
    }
}

/// Applies the blocks after `from`; `false`: some are missing.
fn read(machine: &mut impl Machine, image: &Image, from: Lsn) -> Result<bool, String> {
    let mut next = from.0 + 1;
    for block in image.blocks.iter().filter(|block| block.lsn > from) {
        if block.lsn.0 != next {
            return Ok(false);
        }
        next += 1;
        apply(machine, block)?;
    }
    Ok(next == image.tail.0 + 1)
}

fn apply(machine: &mut impl Machine, block: &Block) -> Result<(), String> {
    let mut rest = &block.body[..];
    for _ in 0..block.entries {
        let (head, after) = rest.split_first_chunk::<4>().ok_or("a block ends early")?;
        let len = u32::from_le_bytes(*head) as usize;
        let (entry, after) = after.split_at_checked(len).ok_or("an entry is longer than its block")?;
        let at = (block.body.len() - after.len() - len) as u32;
        machine.apply(Place { lsn: block.lsn, at }, block.time, entry)?;
        rest = after;
    }
    Ok(())
}
