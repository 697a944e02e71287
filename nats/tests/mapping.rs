//! What nats-server 2.15.2 makes of mappings (`golden/mapping.jsonl`, recorded by `golden/record_mapping.py`), against what we make of them.

use proptest::prelude::*;
use serde_json::Value;
use stele_model::subject::renaming::Renaming;
use stele_nats::jet::mapping::{parse, parse_strictly};
use stele_nats::jet::subject::is_publishable;

fn recorded() -> Vec<Value> {
    let lines = include_str!("golden/mapping.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn mappings_are_taken_and_refused_as_recorded() {
    for entry in recorded() {
        let text = |name: &str| entry[name].as_str().expect("a text");
        let strictly = parse_strictly(text("src"), text("dest"));
        let said = strictly.err().map(|wrong| format!("stream transform: {wrong}"));
        assert_eq!(said.as_deref(), entry["transform"].as_str(), "{entry}");
        let is_refused = parse(text("src"), text("dest")).is_err();
        assert_eq!(is_refused, entry["republish"].is_string(), "{entry}");
    }
}

#[test]
fn mappings_come_to_the_recorded_subjects() {
    let mut compared = 0;
    for entry in recorded().iter().filter(|entry| entry["republish"].is_null()) {
        let (source, destination) = (entry["src"].as_str().unwrap(), entry["dest"].as_str().unwrap());
        let renaming = parse(source, destination).unwrap().expect("a destination");
        for (subject, expected) in entry["maps"].as_object().expect("a map") {
            let is = renaming.apply(subject.as_bytes(), 1).unwrap();
            let is = is.map(|is| String::from_utf8_lossy(&is).into_owned());
            // What is no subject was not published again.
            let is = is.filter(|is| is_publishable(is));
            assert_eq!(is.as_deref(), expected.as_str(), "{source} to {destination}: {subject}");
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Words that are put where the wildcards of a source are, spelt out.
fn naive(words: &[String], order: &[usize], rest: &[String]) -> String {
    let front = order.iter().map(|n| words[*n].clone());
    front.chain(rest.iter().cloned()).collect::<Vec<_>>().join(".")
}

proptest! {
    #[test]
    fn words_in_another_order_are_what_they_were(
        words in prop::collection::vec("[a-z]{1,4}", 1..5),
        rest in prop::collection::vec("[a-z]{1,4}", 0..3),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        braces in any::<bool>(),
    ) {
        let order: Vec<usize> = seed.iter().map(|index| index.index(words.len())).collect();
        let (mut source, mut destination) = (vec!["*".to_owned(); words.len()], Vec::new());
        for n in &order {
            destination.push(if braces { format!("{{{{wildcard({})}}}}", n + 1) } else { format!("${}", n + 1) });
        }
        if !rest.is_empty() {
            source.push(">".to_owned());
            destination.push(">".to_owned());
        }
        let renaming = parse(&source.join("."), &destination.join(".")).unwrap().unwrap();
        let subject: Vec<String> = words.iter().chain(&rest).cloned().collect();
        let is = renaming.apply(subject.join(".").as_bytes(), 0).unwrap().unwrap();
        prop_assert_eq!(String::from_utf8(is).unwrap(), naive(&words, &order, &rest));
    }

    #[test]
    fn no_mapping_and_no_subject_make_it_panic(
        source in "[a*>.$ ]{0,8}",
        word in "(\\{\\{ ?[a-zA-Z]{0,13}\\(?[0-9, -]{0,6}\\)?\\}\\}|\\$?[0-9]{0,3}|[*>.])",
        subject in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        for destination in [format!("a.{word}"), format!("{word}.>"), word] {
            if let Ok(Some(renaming)) = parse_strictly(&source, &destination) {
                let mut bytes = Vec::new();
                renaming.write(&mut bytes);
                let read = Renaming::read(&bytes);
                prop_assert_eq!(read.as_ref(), Some(&renaming));
                let _ = renaming.apply(&subject, 7);
                let _ = renaming.apply(b"a.a.a", 7);
            }
        }
    }
}
