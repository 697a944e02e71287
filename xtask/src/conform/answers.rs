//! What the real broker answered, what of it we answer otherwise on purpose, and what each case is about: three files beside the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Dialect;
use super::script::Observation;
use crate::workspace::Workspace;

const DIFFERENCES: &str = "differences.toml";
const CASES: &str = "cases.toml";

/// The three files.
pub(super) struct Answers {
    dialect: Dialect,
    recorded: BTreeMap<String, Recorded>,
    differences: BTreeMap<String, Value>,
    known: BTreeSet<String>,
}

/// The real broker's answer to one case, and the clients that observed it.
#[derive(Deserialize, Serialize)]
struct Recorded {
    clients: BTreeSet<String>,
    answer: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Differences {
    #[serde(default)]
    difference: Vec<Difference>,
}

/// A case in which we answer otherwise, and why that is right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    case: String,
    /// Ours, as JSON.
    answer: String,
    reason: String,
}

impl Answers {
    /// Read the files and check that they fit each other.
    pub(super) fn read(workspace: &Workspace, dialect: Dialect) -> Result<Self> {
        let text = |name: &str| {
            std::fs::read_to_string(path(workspace, dialect, name)).with_context(|| format!("read {name}"))
        };
        let name = dialect.recorded();
        let recorded: BTreeMap<String, Recorded> =
            serde_json::from_str(&text(name)?).with_context(|| format!("understand {name}"))?;
        let areas: BTreeMap<String, BTreeMap<String, String>> =
            toml::from_str(&text(CASES)?).with_context(|| format!("understand {CASES}"))?;
        let known: BTreeSet<String> = areas.into_values().flat_map(BTreeMap::into_keys).collect();
        let mut differences = BTreeMap::new();
        let listed: Differences =
            toml::from_str(&text(DIFFERENCES)?).with_context(|| format!("understand {DIFFERENCES}"))?;
        for Difference { case, answer, reason } in listed.difference {
            ensure!(known.contains(&case), "{DIFFERENCES}: there is no case {case}");
            ensure!(!reason.trim().is_empty(), "{DIFFERENCES}: {case} needs a reason");
            let answer = serde_json::from_str(&answer)
                .with_context(|| format!("understand our answer to {case} in {DIFFERENCES}"))?;
            differences.insert(case, answer);
        }
        Ok(Self { dialect, recorded, differences, known })
    }

    /// Before a client's answers are recorded anew: no case is observed by it.
    pub(super) fn forget(&mut self, client: &str) {
        for recorded in self.recorded.values_mut() {
            recorded.clients.remove(client);
        }
        self.recorded.retain(|_, recorded| !recorded.clients.is_empty());
    }

    /// Take an answer of the real broker; two clients that observe different things are an error in a script.
    pub(super) fn record(&mut self, client: &str, case: &str, answer: Value) -> Result<()> {
        ensure!(self.known.contains(case), "{client}: {case} is not listed in {CASES}");
        let recorded = self
            .recorded
            .entry(case.to_owned())
            .or_insert_with(|| Recorded { clients: BTreeSet::new(), answer: answer.clone() });
        ensure!(
            recorded.answer == answer,
            "{client} observed in {case} {answer}\nothers {}",
            recorded.answer
        );
        recorded.clients.insert(client.to_owned());
        Ok(())
    }

    /// Write the recorded answers; a case that no client observed is an error.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let lines = self
            .recorded
            .iter()
            .map(|(case, recorded)| Ok(format!("{case:?}: {}", serde_json::to_string(recorded)?)));
        let text = format!("{{\n{}\n}}\n", lines.collect::<Result<Vec<_>>>()?.join(",\n")); // a line per case, for readable changes
        let name = self.dialect.recorded();
        std::fs::write(path(workspace, self.dialect, name), text).with_context(|| format!("write {name}"))?;
        let missing: Vec<&str> =
            self.known.iter().filter(|case| !self.recorded.contains_key(*case)).map(String::as_str).collect();
        ensure!(missing.is_empty(), "listed in {CASES} and observed by nobody: {}", missing.join(", "));
        Ok(())
    }

    /// Where a client did not observe what it should have, and why if its script knows. `ours`: our own broker answered, so the listed
    /// differences are expected.
    pub(super) fn faults(
        &self,
        client: &str,
        observed: &[Observation],
        only: &[String],
        ours: bool,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for Observation { case, answer, why } in observed {
            let why = why.iter().flat_map(|why| why.lines()).map(|line| format!("\n    | {line}"));
            let why: String = why.collect();
            let Some(recorded) = self.recorded.get(case) else {
                faults.push(format!("{case}: nothing is recorded for it; it answered {answer}{why}"));
                continue;
            };
            let difference = self.differences.get(case).filter(|_| ours);
            let wanted = difference.unwrap_or(&recorded.answer);
            if difference.is_some() && *answer == recorded.answer {
                faults.push(format!("{case}: answers as the real broker does, so it is no difference: remove it from {DIFFERENCES}"));
            } else if answer != wanted {
                faults.push(format!("{case}:\n    wanted {wanted}\n    got    {answer}{why}"));
            }
        }
        let silent = |case: &str| observed.iter().all(|seen| seen.case != case);
        let asked = |case: &String| only.is_empty() || only.contains(case);
        let due =
            self.recorded.iter().filter(|(case, recorded)| recorded.clients.contains(client) && asked(case));
        faults.extend(due.filter(|(case, _)| silent(case)).map(|(case, _)| format!("{case}: no answer")));
        faults
    }
}

fn path(workspace: &Workspace, dialect: Dialect, name: &str) -> PathBuf {
    workspace.path(dialect.folder()).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answers() -> Answers {
        let known = ["a", "b"].map(str::to_owned).into();
        let mut answers = Answers {
            dialect: Dialect::Amqp091,
            recorded: BTreeMap::new(),
            differences: BTreeMap::from([("b".to_owned(), json!(540))]),
            known,
        };
        answers.record("one", "a", json!([1, 2])).unwrap();
        answers.record("one", "b", json!("ok")).unwrap();
        answers
    }

    fn faults(observed: &[(&str, Value)], ours: bool) -> Vec<String> {
        let observation = |(case, answer): &(&str, Value)| Observation {
            case: (*case).to_owned(),
            answer: answer.clone(),
            why: Some("it broke\nhere".to_owned()),
        };
        let observed: Vec<Observation> = observed.iter().map(observation).collect();
        answers().faults("one", &observed, &[], ours)
    }

    #[test]
    fn the_recorded_answers_pass() {
        assert_eq!(faults(&[("a", json!([1, 2])), ("b", json!("ok"))], false), Vec::<String>::new());
    }

    #[test]
    fn a_listed_difference_is_wanted_of_us_and_of_nobody_else() {
        assert_eq!(faults(&[("a", json!([1, 2])), ("b", json!(540))], true), Vec::<String>::new());
        assert_eq!(faults(&[("a", json!([1, 2])), ("b", json!(540))], false).len(), 1);
    }

    #[test]
    fn a_difference_that_is_none_any_more_is_named() {
        assert!(faults(&[("a", json!([1, 2])), ("b", json!("ok"))], true)[0].contains("remove it"));
    }

    #[test]
    fn another_answer_a_missing_and_an_unknown_one_are_named() {
        let faults = faults(&[("a", json!([2, 1])), ("c", json!(0))], false);
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn why_a_case_broke_is_told_only_of_answers_that_nobody_expects() {
        assert_eq!(faults(&[("a", json!([1, 2])), ("b", json!(540))], true), Vec::<String>::new());
        let faults = faults(&[("a", json!("broken")), ("b", json!(540))], true);
        assert!(faults.len() == 1 && faults[0].ends_with("\n    | it broke\n    | here"), "{faults:?}");
    }

    #[test]
    fn two_clients_must_observe_the_same() {
        let mut answers = answers();
        answers.record("two", "a", json!([1, 2])).unwrap();
        assert!(answers.record("three", "a", json!([2, 1])).is_err());
        assert!(answers.record("two", "unheard-of", json!(0)).is_err());
    }
}
