//! What comes out: one section per scenario with a column per broker, the ratio, and the aims met or missed; or the same as JSON,
//! or the aims as the Markdown of `docs/performance.md`.
//!
//! Scenarios fill [`Figures`] once per round; here are medians over rounds, the choice of the better peer, the comparison with the
//! aims, and the text. Nothing here measures.

mod markdown;

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

/// In which forms the result is printed.
#[derive(clap::Args)]
pub(crate) struct Forms {
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Print all aims once more at the end, as the table of docs/performance.md.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Forms {
    /// Whether sections are printed as text as they come.
    pub(crate) fn text(&self) -> bool {
        !self.json
    }

    /// What is printed at the end, when there are all sections.
    pub(crate) fn at_the_end(&self, sections: &[Section]) -> Option<String> {
        let json = || format!("{:#}\n", Value::from_iter(sections.iter().map(Section::json)));
        self.json.then(json).or_else(|| self.markdown.then(|| format!("\n{}", markdown::table(sections))))
    }
}

/// Everything a round can find out. The order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Rate,
    ConfirmP50,
    ConfirmP99,
    FewBindingsRate,
    BindingShare,
    FewTopicsRate,
    TopicShare,
    EndToEndP50,
    EndToEndP99,
    ReplyP50,
    ReplyP99,
    AloneRate,
    HealthyShare,
    CutTime,
    CreationTime,
    Megabytes,
    PartitionBytes,
    Cpu,
    GeneratorCores,
    Resident,
    ConnectionBytes,
    QueueBytes,
    KeyBytes,
    DiskBytes,
    DiskCopies,
    DiskShare,
    Bandwidth,
    ReadBandwidth,
    ReadShare,
    ClientRate,
    ClientShare,
    SyncedClientRate,
    SyncP50,
    SyncP99,
    SyncRatio,
    PerRead,
    PerCommit,
    CommitBytes,
    CommitTime,
    PerConfirm,
}

impl Column {
    /// Title in the table and key in JSON.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Rate => ("records/s", "records_per_s"),
            Self::ConfirmP50 => ("publish to confirm p50, µs", "confirm_p50_us"),
            Self::ConfirmP99 => ("publish to confirm p99, µs", "confirm_p99_us"),
            Self::FewBindingsRate => ("records/s with 10 bindings", "records_per_s_few_bindings"),
            Self::BindingShare => ("share of the rate with 10 bindings", "binding_share"),
            Self::FewTopicsRate => ("records/s into one topic of 10", "records_per_s_few_topics"),
            Self::TopicShare => ("share of the rate with one topic", "topic_share"),
            Self::EndToEndP50 => ("produce to consume p50, µs", "end_to_end_p50_us"),
            Self::EndToEndP99 => ("produce to consume p99, µs", "end_to_end_p99_us"),
            Self::ReplyP50 => ("request to reply p50, µs", "reply_p50_us"),
            Self::ReplyP99 => ("request to reply p99, µs", "reply_p99_us"),
            Self::AloneRate => ("records/s without the dead one", "records_per_s_alone"),
            Self::HealthyShare => ("share of the rate without the dead one", "healthy_share"),
            Self::CutTime => ("the dead one is cut after, s", "cut_s"),
            Self::CreationTime => ("making the consumer, ms", "creation_ms"),
            Self::Megabytes => ("payload, MB/s", "payload_mb_per_s"),
            Self::PartitionBytes => ("resident per idle partition, KB", "partition_kb"),
            Self::Cpu => ("broker CPU per record, µs", "cpu_us_per_record"),
            Self::GeneratorCores => ("generator CPU, cores", "generator_cores"),
            Self::Resident => ("broker resident, MB", "resident_mb"),
            Self::ConnectionBytes => ("resident per idle connection, KB", "connection_kb"),
            Self::QueueBytes => ("resident per idle queue, KB", "queue_kb"),
            Self::KeyBytes => ("resident per key, bytes", "key_bytes"),
            Self::DiskBytes => ("disk bytes per record", "disk_bytes_per_record"),
            Self::DiskCopies => ("disk bytes per payload byte", "disk_bytes_per_payload_byte"),
            Self::DiskShare => ("share of the disk's ceiling", "disk_share"),
            Self::Bandwidth => ("the disk alone, MB/s", "disk_mb_per_s"),
            Self::ReadBandwidth => ("reading the disk alone, MB/s", "disk_read_mb_per_s"),
            Self::ReadShare => ("share of reading the disk alone", "disk_read_share"),
            Self::ClientRate => ("the client alone, records/s", "client_records_per_s"),
            Self::ClientShare => ("share of the client alone", "client_share"),
            Self::SyncedClientRate => ("client and disk alone, records/s", "client_and_disk_records_per_s"),
            Self::SyncP50 => ("one bare 4-KiB sync p50, µs", "sync_p50_us"),
            Self::SyncP99 => ("one bare 4-KiB sync p99, µs", "sync_p99_us"),
            Self::SyncRatio => ("confirm p50 / bare sync p50", "confirm_per_sync"),
            Self::PerRead => ("records per read", "records_per_read"),
            Self::PerCommit => ("records per commit", "records_per_commit"),
            Self::CommitBytes => ("KB per commit", "commit_kb"),
            Self::CommitTime => ("µs per commit", "commit_us"),
            Self::PerConfirm => ("records per confirm frame", "records_per_confirm"),
        }
    }

    /// Rows that describe this machine and not a broker have no ratio.
    fn has_ratio(self) -> bool {
        let machine = matches!(self, Self::Bandwidth | Self::ReadBandwidth | Self::SyncP50 | Self::SyncP99);
        !machine && !matches!(self, Self::GeneratorCores | Self::ClientRate | Self::SyncedClientRate)
    }

    /// Whether more is better, where the peer's better queue type is chosen by this column.
    fn more_is_better(self) -> bool {
        let shares =
            matches!(self, Self::BindingShare | Self::TopicShare | Self::DiskShare | Self::HealthyShare);
        shares || matches!(self, Self::Rate | Self::Megabytes)
    }
}

/// Something that is compared: a broker in one of its configurations.
pub(crate) trait Contender {
    fn name(&self) -> &str;
    fn is_stele(&self) -> bool;
}

/// Runs every round on every broker before the next round, so that a slow hour of the machine meets all of them.
pub(crate) fn alternate<T: Contender>(
    targets: &[T],
    rounds: impl Fn(&T) -> u32,
    run: impl Fn(&T) -> Result<Figures>,
) -> Vec<Line> {
    let line = |target: &T| Line {
        broker: target.name().to_owned(),
        is_stele: target.is_stele(),
        rounds: Vec::new(),
        invalid: Vec::new(),
    };
    let mut lines: Vec<_> = targets.iter().map(line).collect();
    for round in 0..targets.iter().map(&rounds).max().unwrap_or(0) {
        for (target, line) in targets.iter().zip(&mut lines).filter(|(target, _)| round < rounds(target)) {
            match run(target) {
                Ok(figures) => line.rounds.push(figures),
                Err(error) => line.invalid.push(format!("{error:#}")),
            }
        }
    }
    lines
}

/// What one round found; absent is printed as a dash.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(BTreeMap<Column, f64>);

impl Figures {
    /// Notes a value, if there is one.
    pub(crate) fn set(&mut self, column: Column, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.0.insert(column, value);
        }
    }

    pub(crate) fn get(&self, column: Column) -> Option<f64> {
        self.0.get(&column).copied()
    }

    /// The median of each column.
    fn medians(rounds: &[Self]) -> Self {
        let mut columns: BTreeMap<Column, Vec<f64>> = BTreeMap::new();
        for (&column, &value) in rounds.iter().flat_map(|round| &round.0) {
            columns.entry(column).or_default().push(value);
        }
        Self(columns.into_iter().map(|(column, values)| (column, median(values))).collect())
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a median of nothing");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// What Stele owes in a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub column: Column,
    pub bound: Bound,
}

/// Ratios are Stele's value over the peer's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    RatioAtLeast(f64),
    /// Also met by who reaches [`LIMIT_SHARE`] of what is the limit for any broker, by this column.
    RatioAtLeastOrLimit(f64, Column),
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn text(&self) -> String {
        let rounded = |bound: f64| (bound * 1e3).round() / 1e3;
        match *self {
            Self::RatioAtLeast(bound) => format!("≥ {} ×", rounded(bound)),
            Self::RatioAtLeastOrLimit(bound, limit) => {
                format!("≥ {} × or {} ≥ {LIMIT_SHARE}", rounded(bound), limit.names().0)
            }
            Self::RatioAtMost(bound) => format!("≤ {} ×", rounded(bound)),
            Self::AtLeast(bound) => format!("≥ {}", rounded(bound)),
            Self::AtMost(bound) => format!("≤ {}", rounded(bound)),
        }
    }
}

/// From this share of a limit on, it is the limit that is measured.
const LIMIT_SHARE: f64 = 0.9;

/// The verdict on one aim: the value it judges, and whether it is met.
#[derive(Debug, PartialEq)]
struct Verdict {
    value: f64,
    met: bool,
}

impl Aim {
    /// `None` when what it compares was not measured.
    fn judge(&self, stele: &Figures, peer: Option<&Figures>) -> Option<Verdict> {
        let mine = stele.get(self.column)?;
        let ratio = || Some(mine / peer?.get(self.column)?);
        let (value, met) = match self.bound {
            Bound::RatioAtLeast(bound) => ratio().map(|value| (value, value >= bound))?,
            Bound::RatioAtLeastOrLimit(bound, limit) => {
                let limited = stele.get(limit).is_some_and(|share| share >= LIMIT_SHARE);
                ratio().map(|value| (value, value >= bound || limited))?
            }
            Bound::RatioAtMost(bound) => ratio().map(|value| (value, value <= bound))?,
            Bound::AtLeast(bound) => (mine, mine >= bound),
            Bound::AtMost(bound) => (mine, mine <= bound),
        };
        Some(Verdict { value, met })
    }

    fn text(&self) -> String {
        format!("{} {}", self.column.names().0, self.bound.text())
    }
}

/// All rounds of one broker in one scenario.
pub(crate) struct Line {
    pub broker: String,
    pub is_stele: bool,
    pub rounds: Vec<Figures>,
    /// Why rounds do not count: a message lost, doubled, left over, or a broker that refused.
    pub invalid: Vec<String>,
}

/// One scenario, all brokers.
pub(crate) struct Section {
    pub name: &'static str,
    pub about: &'static str,
    /// The column by which the peer's better queue type is chosen.
    pub main: Column,
    pub aims: &'static [Aim],
    pub lines: Vec<Line>,
}

impl Section {
    fn stele(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.is_stele && !line.rounds.is_empty())
    }

    fn better_peer(&self) -> Option<&Line> {
        let value = |line: &&Line| {
            let value = Figures::medians(&line.rounds).get(self.main).unwrap_or(0.0);
            if self.main.more_is_better() { value } else { -value }
        };
        let peers = self.lines.iter().filter(|line| !line.is_stele && !line.rounds.is_empty());
        peers.max_by(|a, b| value(a).total_cmp(&value(b)))
    }

    /// The medians of Stele and of the peer it is compared with.
    fn compared(&self) -> (Option<Figures>, Option<Figures>) {
        let medians = |line: &Line| Figures::medians(&line.rounds);
        (self.stele().map(medians), self.better_peer().map(medians))
    }

    /// Whether every round of every broker counts.
    pub(crate) fn is_valid(&self) -> bool {
        self.lines.iter().all(|line| line.invalid.is_empty())
    }

    /// The section as a table.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("\n{} · {}\n", self.name, self.about);
        let medians: Vec<_> = self.lines.iter().map(|line| Figures::medians(&line.rounds)).collect();
        let (stele, peer) = self.compared();
        let pair = stele.zip(peer);

        let mut heading = vec![String::new()];
        heading.extend(self.lines.iter().map(|line| line.broker.clone()));
        heading.push(if pair.is_some() { "ratio".into() } else { String::new() });
        let mut rows = vec![heading];
        let columns: std::collections::BTreeSet<_> =
            medians.iter().flat_map(|figures| figures.0.keys().copied()).collect();
        for column in columns {
            let mut row = vec![column.names().0.to_owned()];
            row.extend(medians.iter().map(|figures| figures.get(column).map_or("–".into(), number)));
            let ratio = pair.as_ref().filter(|_| column.has_ratio());
            let ratio = ratio.and_then(|(stele, peer)| Some(stele.get(column)? / peer.get(column)?));
            row.push(
                ratio
                    .filter(|ratio| ratio.is_finite())
                    .map_or(String::new(), |ratio| format!("{} ×", number(ratio))),
            );
            rows.push(row);
            if column == self.main && self.lines.iter().any(|line| line.rounds.len() > 1) {
                let mut row = vec!["  lowest–highest round".to_owned()];
                row.extend(self.lines.iter().map(|line| range(&line.rounds, column)));
                row.push(String::new());
                rows.push(row);
            }
        }
        let width = |index: usize| rows.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let _ = write!(out, "  {:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(out, "  {cell:>width$}");
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        for (text, verdict) in self.verdicts() {
            let _ = match verdict {
                Some(Verdict { value, met: true }) => writeln!(out, "  aim {text}: {} – met", number(value)),
                Some(Verdict { value, met: false }) => {
                    writeln!(out, "  aim {text}: {} – MISSED", number(value))
                }
                None => writeln!(out, "  aim {text}: not measured"),
            };
        }
        for line in &self.lines {
            for why in &line.invalid {
                let _ = writeln!(out, "  INVALID {}: {why}", line.broker);
            }
        }
        out
    }

    fn verdicts(&self) -> Vec<(String, Option<Verdict>)> {
        let (stele, peer) = self.compared();
        let judge = |aim: &Aim| aim.judge(stele.as_ref()?, peer.as_ref());
        self.aims.iter().map(|aim| (aim.text(), judge(aim))).collect()
    }

    /// The section for programs.
    pub(crate) fn json(&self) -> Value {
        let figures = |figures: &Figures| -> Value {
            figures.0.iter().map(|(column, value)| (column.names().1.to_owned(), json!(value))).collect()
        };
        let lines = self.lines.iter().map(|line| {
            json!({
                "broker": line.broker,
                "median": figures(&Figures::medians(&line.rounds)),
                "rounds": line.rounds.iter().map(figures).collect::<Vec<_>>(),
                "invalid": line.invalid,
            })
        });
        let aims = self.verdicts().into_iter().map(|(text, verdict)| {
            json!({ "aim": text, "value": verdict.as_ref().map(|v| v.value), "met": verdict.map(|v| v.met) })
        });
        json!({
            "scenario": self.name,
            "about": self.about,
            "brokers": lines.collect::<Vec<_>>(),
            "compared_with": self.better_peer().map(|line| &line.broker),
            "aims": aims.collect::<Vec<_>>(),
        })
    }
}

fn range(rounds: &[Figures], column: Column) -> String {
    let values = || rounds.iter().filter_map(|round| round.get(column));
    match (values().min_by(f64::total_cmp), values().max_by(f64::total_cmp)) {
        (Some(low), Some(high)) => format!("{}–{}", number(low), number(high)),
        _ => "–".into(),
    }
}

/// Three significant digits or all of the whole number, thousands apart.
pub(crate) fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 99.95 {
        let decimals = if value.abs() < 0.9995 {
            3
        } else if value.abs() < 9.995 {
            2
        } else {
            1
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[(Column, f64)]) -> Figures {
        Figures(values.iter().copied().collect())
    }

    fn line(broker: &str, rates: &[f64]) -> Line {
        let rounds = rates.iter().map(|&rate| figures(&[(Column::Rate, rate)])).collect();
        Line { broker: broker.into(), is_stele: broker == "stele", rounds, invalid: Vec::new() }
    }

    fn section(lines: Vec<Line>) -> Section {
        const AIMS: &[Aim] = &[Aim { column: Column::Rate, bound: Bound::RatioAtLeast(15.0) }];
        Section { name: "test", about: "about", main: Column::Rate, aims: AIMS, lines }
    }

    #[test]
    fn medians_are_taken_by_column_over_the_rounds_that_have_it() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        let rounds = [
            figures(&[(Column::Rate, 1.0), (Column::Cpu, 5.0)]),
            figures(&[(Column::Rate, 9.0)]),
            figures(&[(Column::Rate, 2.0)]),
        ];
        assert_eq!(Figures::medians(&rounds), figures(&[(Column::Rate, 2.0), (Column::Cpu, 5.0)]));
    }

    #[test]
    fn an_aim_is_judged_against_the_better_peer() {
        let met = section(vec![
            line("stele", &[160.0]),
            line("classic", &[8.0, 10.0, 12.0]),
            line("quorum", &[5.0]),
        ]);
        assert_eq!(met.verdicts()[0].1, Some(Verdict { value: 16.0, met: true }));
        let missed = section(vec![line("stele", &[160.0]), line("classic", &[8.0]), line("quorum", &[16.0])]);
        assert_eq!(missed.verdicts()[0].1, Some(Verdict { value: 10.0, met: false }));
        assert!(missed.table().contains("records/s ≥ 15 ×: 10.0 – MISSED"));
        assert_eq!(section(vec![line("stele", &[160.0])]).verdicts()[0].1, None);
    }

    #[test]
    fn bounds_without_a_peer_are_judged_alone() {
        let aim = Aim { column: Column::Cpu, bound: Bound::AtMost(2.5) };
        assert_eq!(aim.judge(&figures(&[(Column::Cpu, 2.5)]), None), Some(Verdict { value: 2.5, met: true }));
        assert_eq!(aim.judge(&figures(&[(Column::Rate, 1.0)]), None), None);
    }

    #[test]
    fn who_reaches_the_limit_of_all_brokers_need_not_be_faster() {
        let aim = Aim { column: Column::Rate, bound: Bound::RatioAtLeastOrLimit(1.5, Column::ClientShare) };
        let peer = figures(&[(Column::Rate, 10.0)]);
        let met = |rate, share| {
            let stele = figures(&[(Column::Rate, rate), (Column::ClientShare, share)]);
            aim.judge(&stele, Some(&peer)).unwrap().met
        };
        assert!(met(15.0, 0.5) && met(11.0, 0.9));
        assert!(!met(14.0, 0.89));
        assert_eq!(aim.text(), "records/s ≥ 1.5 × or share of the client alone ≥ 0.9");
    }

    #[test]
    fn a_line_with_a_reason_makes_the_section_invalid() {
        let mut lost = line("stele", &[1.0]);
        lost.invalid.push("message 7 instead of 6".into());
        let section = section(vec![lost]);
        assert!(!section.is_valid() && section.table().contains("INVALID stele: message 7 instead of 6"));
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0, 0.1234, 1.234, 12.34, 99.96, 1234.5, 1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.123", "1.23", "12.3", "100", "1 234", "1 234 567"]);
    }
}
