//! The aims of all sections as one Markdown table, a row each: what stands in `docs/performance.md`, to be pasted there.
//!
//! The first row of a scenario says what its load is. Figures without an aim stay in the text ([`Section::table`]).

use std::fmt::Write;

use super::{Aim, Bound, Figures, LIMIT_SHARE, Section, number};

/// One table; empty sections give no row.
pub(super) fn table(sections: &[Section]) -> String {
    let mut out =
        String::from("| scenario | figure | Stele | peer | ratio | aim | |\n|---|---|---|---|---|---|---|\n");
    for section in sections {
        let (stele, peer) = section.compared();
        for (index, aim) in section.aims.iter().enumerate() {
            let scenario =
                if index == 0 { format!("`{}`: {}", section.name, section.about) } else { String::new() };
            let _ = writeln!(out, "| {scenario} | {} |", row(aim, stele.as_ref(), peer.as_ref()).join(" | "));
        }
    }
    out
}

/// Figure, Stele, peer, ratio, aim, verdict.
fn row(aim: &Aim, stele: Option<&Figures>, peer: Option<&Figures>) -> [String; 6] {
    let of = |figures: Option<&Figures>| figures.and_then(|figures| figures.get(aim.column));
    let cell = |value: Option<f64>| value.map_or(String::new(), number);
    let ratio = of(stele).zip(of(peer)).map(|(stele, peer)| stele / peer);
    let ratio = ratio.filter(|ratio| aim.column.has_ratio() && ratio.is_finite());
    let met = stele.and_then(|stele| aim.judge(stele, peer)).map(|verdict| verdict.met);
    [
        aim.column.names().0.into(),
        cell(of(stele)),
        cell(of(peer)),
        ratio.map_or(String::new(), |ratio| format!("{} ×", number(ratio))),
        aim.bound.text(),
        verdict(aim.bound, met, stele),
    ]
}

/// Also how near a limit is that would do, where it is what decides.
fn verdict(bound: Bound, met: Option<bool>, stele: Option<&Figures>) -> String {
    let share = match bound {
        Bound::RatioAtLeastOrLimit(_, limit) => stele.and_then(|stele| stele.get(limit)),
        _ => None,
    };
    match (met, share) {
        (None, _) => "not measured".into(),
        (Some(true), Some(share)) if share >= LIMIT_SHARE => format!("met, {} of the limit", number(share)),
        (Some(true), _) => "met".into(),
        (Some(false), Some(share)) => format!("**missed**, {} of the limit", number(share)),
        (Some(false), None) => "**missed**".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Line};
    use super::*;

    fn line(broker: &str, values: &[(Column, f64)]) -> Line {
        let rounds = vec![Figures(values.iter().copied().collect())];
        Line { broker: broker.into(), is_stele: broker == "stele", rounds, invalid: Vec::new() }
    }

    #[test]
    fn every_aim_is_a_row_with_its_verdict() {
        const AIMS: &[Aim] = &[
            Aim { column: Column::Rate, bound: Bound::RatioAtLeastOrLimit(10.0, Column::ClientShare) },
            Aim { column: Column::Cpu, bound: Bound::AtMost(2.5) },
            Aim { column: Column::KeyBytes, bound: Bound::AtMost(150.0) },
        ];
        let stele = [(Column::Rate, 70.0), (Column::ClientShare, 0.59), (Column::Cpu, 2.0)];
        let lines = vec![line("stele", &stele), line("peer", &[(Column::Rate, 10.0), (Column::Cpu, 40.0)])];
        let section = Section { name: "test", about: "load", main: Column::Rate, aims: AIMS, lines };
        let table = table(&[section]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `test`: load | records/s | 70.0 | 10.0 | 7.00 × | ≥ 10 × or share of the client alone ≥ 0.9 | **missed**, 0.590 of the limit |",
                "|  | broker CPU per record, µs | 2.00 | 40.0 | 0.050 × | ≤ 2.5 | met |",
                "|  | resident per key, bytes |  |  |  | ≤ 150 | not measured |",
            ]
        );
    }
}
