//! Subjects against a map from names to sets.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// One of some hundred names of up to three tokens, often with a common beginning.
fn name(n: u64) -> Vec<u8> {
    let token = |n: u64| ["a", "b", "ab", "c"][n as usize % 4].to_owned();
    match n % 3 {
        0 => token(n / 3),
        1 => format!("{}.{}", token(n / 3), n / 12 % 30),
        _ => format!("{}.{}.{}", token(n / 3), token(n / 12), n / 48 % 30),
    }
    .into_bytes()
}

fn patterns() -> impl Iterator<Item = Pattern> {
    [">", "a.>", "a.*", "*.1", "ab.*.2", "a.b.7", "*.*.>", "c.a.>", "zz", "b"]
        .into_iter()
        .map(|text| Pattern::new(text).unwrap())
}

fn check(subjects: &Subjects, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(subjects.count(), model.len());
    for (name, positions) in model {
        let id = subjects.find(name).expect("it has records");
        prop_assert_eq!(subjects.name(id), &name[..]);
        prop_assert_eq!(subjects.positions(id).count(), positions.len() as u64);
        prop_assert_eq!(subjects.positions(id).last().map(|last| last.0), positions.last().copied());
    }
    for pattern in patterns() {
        let fits: Vec<_> = model.iter().filter(|(name, _)| pattern.matches(name)).collect();
        let records = fits.iter().map(|(_, positions)| positions.len() as u64).sum();
        prop_assert_eq!(subjects.sum(&pattern), Sum { subjects: fits.len() as u64, records });
        let mut found = Vec::new();
        subjects.matching(&pattern, |id| found.push(subjects.name(id).to_vec()));
        prop_assert!(found.iter().eq(fits.iter().map(|(name, _)| *name)), "{pattern}, in order");
        let all = !model.is_empty() && fits.len() == model.len();
        prop_assert!(subjects.all_match(&pattern) <= all || model.is_empty(), "{pattern}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn subjects_do_what_a_map_of_sets_does_and_come_back_from_a_snapshot(
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..4000u64), 0..3000),
    ) {
        let (mut subjects, mut model, mut next) = (Subjects::default(), Model::new(), 0);
        for (n, (comes, also, at)) in steps.into_iter().enumerate() {
            if comes || also && model.len() < 40 {
                next += 1 + at % 2;
                let id = subjects.number(&name(at));
                subjects.came(id, Position(next));
                model.entry(name(at)).or_default().insert(next);
            } else if !model.is_empty() {
                let name = model.keys().nth(at as usize % model.len()).unwrap().clone();
                let positions = model.get_mut(&name).unwrap();
                let position = *positions.iter().nth(at as usize % positions.len()).unwrap();
                positions.remove(&position);
                let id = subjects.find(&name).unwrap();
                subjects.gone(id, Position(position));
                if positions.is_empty() {
                    model.remove(&name);
                }
            }
            if n % 300 == 0 {
                check(&subjects, &model)?;
            }
        }
        check(&subjects, &model)?;
        let number = |name: &Vec<u8>| subjects.find(name).unwrap();
        let of = |(name, positions): (&Vec<u8>, &BTreeSet<u64>)| {
            positions.iter().map(|at| (Position(*at), number(name))).collect::<Vec<_>>()
        };
        let mut records: Vec<_> = model.iter().flat_map(of).collect();
        records.sort_unstable();
        let records = records.into_iter().map(|(position, id)| (id, position));
        let mut back = Subjects::restore(subjects.chunks(), records).unwrap();
        check(&back, &model)?;
        for n in 0..300 {
            let id = back.number(&name(n * 7));
            next += 1;
            back.came(id, Position(next));
            model.entry(name(n * 7)).or_default().insert(next);
        }
        check(&back, &model)?;
    }
}

#[test]
fn a_key_with_one_record_costs_at_most_80_bytes() {
    let mut subjects = Subjects::default();
    for n in 0..1_000_000u64 {
        let id =
            subjects.number(format!("$KV.bucket.key{:07}", n.wrapping_mul(7_368_787) % 1_000_000).as_bytes());
        subjects.came(id, Position(n));
    }
    assert_eq!(subjects.count(), 1_000_000);
    let bytes = subjects.memory();
    assert!(bytes <= 80_000_000, "{bytes}");
}

#[test]
fn full_pages_are_cut_some_at_a_time_and_tables_grow_by_one() {
    let (mut subjects, mut next) = (Subjects::default(), 0);
    let mut come = |subjects: &mut Subjects, name: String| {
        let id = subjects.number(name.as_bytes());
        next += 1;
        subjects.came(id, Position(next));
        assert!(subjects.tables.iter().all(|table| table.len() <= TABLE_ROOM));
    };
    let mut names: Vec<String> = (0..40 * 128).map(|n| format!("k.{n:06}")).collect();
    for name in &names {
        come(&mut subjects, name.clone());
    }
    let pages = subjects.order.pages();
    let between: Vec<String> =
        (0..30).flat_map(|of| (0..40).map(move |n| format!("k.{:06}.{of}", n * 128 + 9))).collect();
    for (n, name) in between.iter().enumerate() {
        come(&mut subjects, name.clone());
        assert!(subjects.order.pages() <= pages + 1 + n / 16, "one for sixteen subjects");
    }
    assert_eq!(subjects.order.pages(), 2 * pages, "in the end all of them");
    names.extend(between);
    names.sort_unstable();
    let mut found = Vec::new();
    subjects.matching(&Pattern::everything(), |id| found.push(subjects.name(id).to_vec()));
    assert!(found.iter().eq(names.iter().map(|name| name.as_bytes())));
    let within = names.iter().filter(|name| name.starts_with("k.000009.")).count() as u64;
    let sum = Sum { subjects: within, records: within };
    assert_eq!(subjects.sum(&Pattern::new("k.000009.>").unwrap()), sum);
    assert!(names.iter().all(|name| subjects.find(name.as_bytes()).is_some()));
}

#[test]
fn names_of_subjects_that_come_and_go_do_not_pile_up() {
    let mut subjects = Subjects::default();
    for n in 0..200_000u64 {
        let id = subjects.number(format!("request.{n}").as_bytes());
        subjects.came(id, Position(n));
        if let Some(old) = n.checked_sub(100) {
            let id = subjects.find(format!("request.{old}").as_bytes()).unwrap();
            subjects.gone(id, Position(old));
        }
    }
    assert!(subjects.memory() < 200_000, "{}", subjects.memory());
}
