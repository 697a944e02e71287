//! Publishes on the condition of the last record of many subjects: they wait, and those behind them of the same hub.

use crate::world::{World, plain};
use stele_model::id::{HubId, Position};
use stele_model::stream::records::{LastOf, Terms};
use stele_model::subject::Pattern;

/// Subjects of which one ends with `x`, among so many others that they are not looked at in one turn.
fn many(world: &mut World) -> Position {
    world.publish_plain(&["k.0.x"]);
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

#[test]
fn a_publish_waits_for_what_it_depends_on_and_others_of_its_hub_wait_behind_it() {
    let mut world = World::of(plain());
    let x = many(&mut world);
    let end = x.0 + 1 + 12_000;
    world.told();
    world.send(HubId(0), "k.1.x", if_last(x));
    world.send(HubId(0), "k.2.y", Terms::default());
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
