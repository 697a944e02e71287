//! The durable log: block format, embedded engine, recovery, segments, verify.
//!
//! `server` opens an [`Embedded`] log per shard on a [`disk::real::RealDisk`]; `sim` opens it on a [`disk::fault::FaultDisk`].
//! Both speak to it through the seam [`stele_model::log::LogStore`]. What must hold is said at each module; the bytes on disk
//! are in `docs/format.md`, what "durable" means in `docs/durability.md`. Not here: what entries mean.

pub mod format;

pub mod disk;

mod embedded;

pub use embedded::{Damage, Embedded, OpenError, Options, Reader, Recovery, Volume, Waker};

pub mod conformance;

pub mod mutant;

mod verify;

mod dump;

mod truncate;

mod rebuild;

pub mod probe;

pub use dump::{dump, dump_disk};
pub use rebuild::{RebuildError, Rebuilt, rebuild_manifest, rebuild_manifest_disk};
pub use truncate::{Cut, CutError, Readable, cut, cut_disk, plan_cut, plan_cut_disk};
pub use verify::{Report, SegmentReport, verify, verify_disk};
