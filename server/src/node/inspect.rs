//! What the node tells about itself: it asks its threads, and adds up what they say.

use super::Node;
use super::io::{Inquiry, IoMessage, IoReport};
use super::shard::{ShardMessage, ShardReport};
use super::stop::Reason;
use crate::inspect::{Counters, Inspect, Names, ObjectName, Readiness, StreamView};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use stele_hub::registry::snapshot::{Namespace, Stream};
use stele_model::flow::FlowCounts;
use stele_model::registry::User;
use stele_model::roll::Clients;
use stele_model::shard::QueueCounts;

/// Longest wait for all threads together. A thread that does not answer in time is left out of the sums.
const PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    fn io_reports(&self) -> Vec<IoReport> {
        let (to, from) = sync_channel(self.hubs.len());
        self.hubs.iter().for_each(|hub| hub.send(IoMessage::Report(to.clone()), 0));
        collect(&from, self.hubs.len())
    }

    fn shard_reports(&self) -> Vec<ShardReport> {
        let (to, from) = sync_channel(self.shards.len());
        self.shards.iter().for_each(|shard| shard.send(ShardMessage::Report(to.clone()), 0));
        collect(&from, self.shards.len())
    }
}

fn collect<T>(from: &std::sync::mpsc::Receiver<T>, count: usize) -> Vec<T> {
    let until = Instant::now() + PATIENCE;
    let mut reports = Vec::with_capacity(count);
    while reports.len() < count {
        match from.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(report) => reports.push(report),
            Err(_) => break,
        }
    }
    reports
}

impl Inspect for Node {
    fn readiness(&self) -> Readiness {
        match self.stop.reason() {
            None => Readiness::Ready,
            Some(Reason::Asked) => Readiness::Stopping("the node is being stopped".to_owned()),
            Some(Reason::Failed(why)) => Readiness::Stopping(why),
        }
    }

    fn flow(&self) -> FlowCounts {
        let mut flow = FlowCounts::default();
        self.io_reports().iter().for_each(|report| flow.merge(&report.flow));
        flow
    }

    fn names(&self) -> Names {
        let snapshot = self.snapshot.load();
        let mut names = Names::default();
        for namespace in snapshot.namespaces() {
            let object =
                |name: &str| ObjectName { namespace: namespace.name.to_string(), name: name.to_owned() };
            names.exchanges.extend(namespace.exchanges().iter().map(|e| (e.id, object(&e.name))));
            names.queues.extend(namespace.queues().iter().map(|q| (q.spec.id, object(&q.spec.name))));
            for stream in namespace.streams() {
                names.streams.insert(stream.info.uuid, object(&stream.name));
                let partitions = stream.info.partitions.iter().map(|(id, _)| (*id, stream.info.uuid));
                names.partitions.extend(partitions);
            }
        }
        names
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for report in self.io_reports() {
            let io = report.counters;
            sum.io_reads += io.reads;
            sum.io_read_bytes += io.read_bytes;
            sum.io_writes += io.writes;
            sum.io_written_bytes += io.written_bytes;
            sum.messages_in += io.messages_in;
            sum.messages_out += io.messages_out;
            sum.messages_unrouted += report
                .flow
                .edges
                .iter()
                .filter(|(edge, _)| matches!(edge, stele_model::flow::Edge::Unrouted { .. }))
                .map(|(_, flow)| flow.records)
                .sum::<u64>();
            sum.confirm_frames += io.confirm_writes;
            sum.publishes_confirmed += io.confirmed;
            sum.publishes_refused += io.refused;
            sum.connections_accepted += io.accepted;
            sum.connections_refused += io.rejected;
            sum.connections_now += report.connections;
            sum.connections_cut += io.cut;
        }
        for report in self.shard_reports() {
            sum.log_commits += report.stats.commits;
            sum.log_commit_bytes += report.stats.commit_bytes;
            sum.log_commit_us += report.stats.commit_us;
        }
        sum
    }

    fn queues(&self) -> Vec<QueueCounts> {
        self.shard_reports().into_iter().flat_map(|report| report.queues).collect()
    }

    fn streams(&self) -> Vec<StreamView> {
        let snapshot = self.snapshot.load();
        let namespaces = snapshot.namespaces();
        let view = |namespace: &str, stream: &Stream| StreamView {
            namespace: namespace.to_owned(),
            info: stream.info.clone(),
        };
        let of = |namespace: &Namespace| {
            let streams = namespace.streams().into_iter().map(|stream| view(&namespace.name, stream));
            streams.collect::<Vec<_>>()
        };
        namespaces.into_iter().flat_map(|namespace| of(namespace)).collect()
    }

    fn clients(&self, listens: bool) -> Clients {
        let (to, from) = sync_channel(self.hubs.len());
        self.hubs.iter().for_each(|hub| hub.send(IoMessage::Clients { listens, to: to.clone() }, 0));
        let mut all = Clients::default();
        collect(&from, self.hubs.len()).into_iter().for_each(|clients| all.add(clients));
        all
    }

    fn jetstream(&self, namespace: &str, subject: &str, body: &str) -> Option<Vec<u8>> {
        let (to, from) = sync_channel(1);
        let inquiry = Inquiry {
            namespace: namespace.to_owned(),
            subject: subject.to_owned(),
            body: body.to_owned(),
            to,
        };
        self.hubs.first()?.send(IoMessage::Inquire(inquiry), 0);
        from.recv_timeout(PATIENCE).ok()
    }

    fn user(&self, name: &str) -> Option<User> {
        self.snapshot.load().user(name).map(|account| account.user.clone())
    }

    fn clock_away_s(&self) -> Option<i64> {
        self.clock.away_s()
    }

    fn confirm_clock(&self) -> Option<i64> {
        let away = self.clock.confirm();
        if let Some(seconds) = away {
            tracing::warn!(seconds, "the jump of the wall clock was confirmed");
        }
        away
    }
}
