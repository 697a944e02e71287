//! Tests of a bus in milliseconds: the same pipeline over a broker in memory, a virtual clock, and mishaps from a seed.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stele_bus::{Context, Failure, Message, Msg};
//!
//! #[derive(Debug, PartialEq, Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:Ordered")]
//! struct Ordered { order: u32 }
//! #[derive(Debug, PartialEq, Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:Billed")]
//! struct Billed { order: u32 }
//!
//! async fn bill(Msg(Ordered { order }): Msg<Ordered>, cx: Context) -> Result<(), Failure> {
//!     cx.publish(&Billed { order })?;
//!     Ok(())
//! }
//!
//! stele_bus_test::run(|bus| bus.endpoint("billing", |e| e.handle(bill)), async |h| {
//!     h.publish(&Ordered { order: 7 }).await;
//!     assert_eq!(h.published::<Billed>(), [Billed { order: 7 }]);
//! });
//! ```
//!
//! No call waits for real time: each returns when the bus is quiet, that is when no message is on its way and no handler runs; what is
//! scheduled for later stays where it is until [`Harness::advance`]. [`explore`] runs the same test under many seeds with reordering,
//! copies and crashes. Deliberately not here: a broker (`stele_bus::transport::memory`), brokers in containers.

mod harness;
mod mishaps;
mod record;

pub use harness::Harness;
pub use mishaps::Plan;

use stele_bus::BusBuilder;

/// Run one test of a bus that `describe` describes: orderly, with a virtual clock.
///
/// # Panics
/// If the test panics, or the bus cannot be built.
pub fn run(describe: impl FnOnce(BusBuilder) -> BusBuilder, test: impl AsyncFnOnce(Harness)) {
    on_virtual_time(async { test(Harness::start(describe, None).await).await });
}

/// Run the same test with `seeds` different orders of events: messages overtake each other, arrive twice, and handlers die between
/// any two steps. What the test asserts must hold in all of them.
///
/// # Panics
/// If the test panics with any seed; the seed is named.
pub fn explore(seeds: u64, describe: impl Fn(BusBuilder) -> BusBuilder, test: impl AsyncFn(Harness)) {
    for seed in 0..seeds {
        explore_one(Plan::from_seed(seed), &describe, &test);
    }
}

/// [`explore`] with one plan: to repeat a seed that failed.
///
/// # Panics
/// If the test panics; the seed is named.
pub fn explore_one(plan: Plan, describe: impl Fn(BusBuilder) -> BusBuilder, test: impl AsyncFn(Harness)) {
    let named = Named(plan.seed);
    on_virtual_time(async { test(Harness::start(&describe, Some(plan)).await).await });
    std::mem::forget(named);
}

fn on_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime on this thread").block_on(test);
}

/// Names the seed when a panic passes by.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        eprintln!("failed with seed {}", self.0);
    }
}
