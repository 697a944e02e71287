//! Publishes on the condition of the last record of many subjects: they wait, and those behind them of the same hub.

use crate::world::{World, plain};
use stele_model::id::{HubId, Position};
use stele_model::stream::records::{LastOf, Terms};
use stele_model::subject::Pattern;

/// Subjects of which one ends with `x`, among so many others that they are not looked at in one turn.
fn many(world: &mut World) -> Position {
    many_behind(world, &["k.0.x"])
}

/// The same behind other records; the first of these.
fn many_behind(world: &mut World, first: &[&str]) -> Position {
    world.publish_plain(first);
    for n in 0..6 {
        let names: Vec<String> = (0..2000).map(|i| format!("k.{}.y", n * 2000 + i)).collect();
        world.publish_plain(&names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Position(40)
}

fn if_last(position: Position) -> Terms {
    let subjects = Pattern::new("k.*.x");
    Terms { last: Some(LastOf { subjects, position: Some(position) }), ..Terms::default() }
}

/// If the last record of its own subject is this one.
fn if_own_last(position: Position) -> Terms {
    Terms { last: Some(LastOf { subjects: None, position: Some(position) }), ..Terms::default() }
}

#[test]
fn a_publish_waits_for_what_it_depends_on_and_others_of_its_hub_wait_behind_it() {
    let mut world = World::of(plain());
    let x = many(&mut world);
    let end = x.0 + 1 + 12_000;
    world.told();
    world.send(HubId(0), "k.1.x", if_last(x));
    // Only if the one before it is stored.
    world.send(HubId(0), "k.1.x", if_own_last(Position(end + 1)));
    world.send(HubId(1), "k.3.y", Terms::default());
    world.send(HubId(1), "k.4.x", if_last(x));
    assert_eq!(
        world.told(),
        [(1, Some(end))],
        "the other hub does not wait, until it has a condition of its own"
    );
    world.tick();
    assert_eq!(world.told(), [], "all subjects are not seen yet");
    world.tick_until_done();
    assert_eq!(
        world.told(),
        [(0, Some(end + 1)), (0, Some(end + 2)), (1, None)],
        "in the order in which they came"
    );
}

#[test]
fn what_comes_while_a_publish_waits_counts() {
    let mut world = World::of(plain());
    let x = many(&mut world);
    let end = x.0 + 1 + 12_000;
    world.told();
    world.send(HubId(0), "k.1.x", if_last(x));
    world.send(HubId(1), "k.2.x", Terms::default());
    world.tick_until_done();
    assert_eq!(world.told(), [(1, Some(end)), (0, None)]);
    world.send(HubId(0), "k.1.x", if_last(Position(end)));
    world.tick_until_done();
    assert_eq!(world.told(), [(0, Some(end + 1))]);
}

/// If the last record of the subjects that end with `y` is this one.
fn if_last_y(position: Option<Position>) -> Terms {
    Terms { last: Some(LastOf { subjects: Pattern::new("k.*.y.z"), position }), ..Terms::default() }
}

#[test]
fn each_condition_of_several_records_is_looked_up_and_what_goes_meanwhile_counts() {
    for (is_deleted, expects_z, stored) in [(false, true, 2), (false, false, 1), (true, true, 1)] {
        let mut world = World::of(plain());
        let x = many_behind(&mut world, &["k.0.x", "k.0.y.z"]);
        let (z, end) = (Position(x.0 + 1), x.0 + 2 + 12_000);
        world.told();
        let last_z = if_last_y(expects_z.then_some(z));
        world.send_all(HubId(0), vec![("k.1.x", if_last(x)), ("k.2.y.z", last_z)]);
        // The first condition is known by now, the second one is not.
        (0..4).for_each(|_| world.tick());
        assert_eq!(world.told(), []);
        if is_deleted {
            world.delete_at(x);
        }
        world.tick_until_done();
        world.told();
        world.send(HubId(1), "k.3.y", Terms::default());
        assert_eq!(world.told(), [(1, Some(end + stored))], "deleted: {is_deleted}, z: {expects_z}");
    }
}
