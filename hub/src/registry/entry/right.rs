//! The bytes of a right.

use super::super::bytes::{Reader, Writer, Wrong};
use stele_model::refusal::Object;
use stele_model::registry::{Right, Verb};

/// The kinds of object that rights are given to, each with its number.
const OBJECTS: [(Object, u8); 2] = [(Object::Stream, 1), (Object::Group, 2)];

const VERBS: [(Verb, u8); 9] = [
    (Verb::All, 1),
    (Verb::Read, 2),
    (Verb::Write, 3),
    (Verb::Create, 4),
    (Verb::Delete, 5),
    (Verb::Alter, 6),
    (Verb::Describe, 7),
    (Verb::AlterSettings, 8),
    (Verb::DescribeSettings, 9),
];

/// Whether rights are given to objects of this kind.
pub(in crate::registry) fn is_for(object: Object) -> bool {
    OBJECTS.iter().any(|(known, _)| *known == object)
}

pub(super) fn write(right: &Right, out: &mut Writer) {
    out.text(&right.namespace);
    out.text(&right.user);
    let object = OBJECTS.iter().find(|(object, _)| *object == right.object);
    out.u8(object.expect("a right to another kind of object is refused").1);
    out.text(&right.name);
    out.bool(right.is_prefix);
    let verb = VERBS.iter().find(|(verb, _)| *verb == right.verb);
    out.u8(verb.expect("every verb has a number").1);
}

pub(super) fn read(input: &mut Reader<'_>) -> Result<Right, Wrong> {
    let (namespace, user, object) = (input.text()?, input.text()?, input.u8()?);
    let (name, is_prefix, verb) = (input.text()?, input.bool()?, input.u8()?);
    let unknown = |what: &str, number: u8| format!("right with unknown {what} {number}");
    let found = OBJECTS.iter().find(|(_, number)| *number == object);
    let (object, _) = *found.ok_or_else(|| unknown("object", object))?;
    let found = VERBS.iter().find(|(_, number)| *number == verb);
    let (verb, _) = *found.ok_or_else(|| unknown("verb", verb))?;
    Ok(Right { namespace, user, object, name, is_prefix, verb })
}
