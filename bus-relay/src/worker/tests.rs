//! A whole relay over an outbox and a broker in memory; time is tokio's paused clock.

use crate::relay::{self, Relay, Settings};
use crate::testing::{Shared, Trouble, row};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Rows by number, each of the aggregate beside it.
fn world(rows: &[(i64, &str)]) -> Shared {
    let shared = Shared::default();
    shared.with(|world| world.rows.extend(rows.iter().map(|(ord, aggregate)| (*ord, row(*ord, aggregate)))));
    shared
}

fn start(shared: &Shared, change: impl FnOnce(&mut Settings)) -> Relay {
    let mut settings = Settings { workers: 1, ..Settings::default() };
    change(&mut settings);
    relay::start(shared.clone(), shared.clone(), settings)
}

/// Lets virtual time pass until the outbox is empty.
async fn drained(shared: &Shared) {
    let end = Instant::now() + Duration::from_secs(600);
    while shared.with(|world| !world.rows.is_empty()) {
        assert!(Instant::now() < end, "rows are left: {:?}", shared.with(|world| world.rows.clone()));
        sleep(Duration::from_millis(1)).await;
    }
}

/// First arrivals.
fn firsts(shared: &Shared) -> Vec<String> {
    shared.with(|world| {
        let mut firsts: Vec<String> = Vec::new();
        for id in &world.arrived {
            if !firsts.contains(id) {
                firsts.push(id.clone());
            }
        }
        firsts
    })
}

fn arrived(shared: &Shared) -> Vec<String> {
    shared.with(|world| world.arrived.clone())
}

#[tokio::test(start_paused = true)]
async fn all_rows_arrive_once_and_in_order_and_a_stop_ends_it() {
    let shared = world(&[(1, "a"), (2, "b"), (3, "a")]);
    let mut relay = start(&shared, |settings| settings.batch = 2);
    relay.ready().await;
    drained(&shared).await;
    assert_eq!(arrived(&shared), ["id-1", "id-2", "id-3"]);
    assert_eq!(relay.metrics().relayed(), 3);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_costs_copies_and_neither_rows_nor_order() {
    let shared = world(&[(1, "a"), (2, "a"), (3, "a")]);
    shared.with(|world| world.plan.extend([Trouble::CutAfter(2), Trouble::CutAfter(0)]));
    let relay = start(&shared, |_| {});
    drained(&shared).await;
    assert_eq!(arrived(&shared), ["id-1", "id-2", "id-1", "id-2", "id-3"]);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_commits_late_is_relayed_although_later_ones_were() {
    let shared = world(&[(5, "a")]);
    let relay = start(&shared, |_| {});
    drained(&shared).await;
    shared.with(|world| world.rows.insert(2, row(2, "b")));
    drained(&shared).await;
    assert_eq!(arrived(&shared), ["id-5", "id-2"]);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_relay_sends_nothing_behind_a_refused_row_of_its_aggregate() {
    let shared = world(&[(1, "a"), (2, "a"), (3, "b"), (4, "a")]);
    shared.with(|world| world.plan.push_back(Trouble::Refuse("id-1")));
    let relay = start(&shared, |settings| settings.strict = true);
    drained(&shared).await;
    assert_eq!(arrived(&shared), ["id-3", "id-1", "id-2", "id-4"]);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_will_never_be_taken_is_parked_and_those_behind_it_waited_for_it() {
    let shared = world(&[(1, "a"), (2, "a"), (3, "b")]);
    shared.with(|world| world.rows.get_mut(&1).unwrap().kind = "TooLong".into());
    let relay = start(&shared, |_| {});
    drained(&shared).await;
    assert_eq!(arrived(&shared), ["id-3", "id-2"]);
    assert_eq!(shared.with(|world| world.dead.clone()), [(1, "too long".to_owned())]);
    assert_eq!(relay.metrics().parked(), 1);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_over_which_the_broker_ends_the_connection_is_found_and_parked() {
    let rows: Vec<(i64, &str)> = (1..=9).map(|ord| (ord, ["a", "b", "c"][ord as usize % 3])).collect();
    let shared = world(&rows);
    shared.with(|world| world.poison.push("id-5".into()));
    let relay = start(&shared, |_| {});
    drained(&shared).await;
    assert_eq!(shared.with(|world| world.dead.clone()), [(5, "poison".to_owned())]);
    let firsts = firsts(&shared);
    for aggregate in [["id-1", "id-4", "id-7"].as_slice(), &["id-2", "id-8"], &["id-3", "id-6", "id-9"]] {
        let found: Vec<&String> = firsts.iter().filter(|id| aggregate.contains(&id.as_str())).collect();
        assert_eq!(found, aggregate, "{firsts:?}");
    }
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_parking_the_row_stays_and_only_its_aggregate_waits() {
    let shared = world(&[(1, "a"), (2, "a"), (3, "b")]);
    shared.with(|world| world.rows.get_mut(&1).unwrap().kind = "TooLong".into());
    let relay = start(&shared, |settings| settings.park_after = None);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(arrived(&shared), ["id-3"]);
    assert_eq!(shared.with(|world| world.rows.len()), 2);
    relay.stop().await;
}

#[tokio::test(start_paused = true)]
async fn looks_become_rare_when_nothing_comes_and_a_nudge_is_a_look_at_once() {
    let shared = world(&[]);
    let mut relay = start(&shared, |_| {});
    relay.ready().await;
    sleep(Duration::from_secs(60)).await;
    let before = shared.with(|world| world.reads);
    sleep(Duration::from_secs(10)).await;
    let looks = shared.with(|world| world.reads) - before;
    assert!((30..=60).contains(&looks), "{looks} looks in 10 s at a pause of 250 ms");

    let start = Instant::now();
    shared.with(|world| world.rows.insert(1, row(1, "a")));
    relay.nudge();
    drained(&shared).await;
    assert!(start.elapsed() <= Duration::from_millis(2), "{:?}", start.elapsed());
    relay.stop().await;
}
