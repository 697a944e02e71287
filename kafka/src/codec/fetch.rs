//! Fetch (key 1) by hand: the request without a structure per partition, the response around shared octets.
//!
//! The generated messages are the oracle of the tests.

use super::Malformed;
use super::api::ApiKey;
use super::frame::{self, Started};
use super::generated::fetch::{AbortedTransaction, FetchPartition, ForgottenTopic, ReplicaState};
use super::produce::TopicRef;
use super::wire::{Reader, Wire, Writer};
use bytes::Bytes;
use stele_model::session::Output;
use stele_record::batch::STAMPED_BYTES;

/// Records from this size up are handed on without copying, octets.
pub const SHARE_BYTES_MIN: usize = 8 << 10;
/// First version that names topics by id.
pub const BY_ID_FIRST: i16 = 13;

/// A fetch request.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// −1 for consumers; brokers are not served.
    pub replica_id: i32,
    /// How long to wait for `min_bytes`, ms.
    pub max_wait_ms: i32,
    /// Answer when so much is there, octets.
    pub min_bytes: i32,
    /// Most octets of records in the answer, but for the first batch.
    pub max_bytes: i32,
    /// 1: only what is committed.
    pub isolation_level: i8,
    /// 0: none yet.
    pub session_id: i32,
    /// −1: no session wanted; 0: a new one.
    pub session_epoch: i32,
    topics: Reader<'a>,
}

impl<'a> Fetch<'a> {
    /// Reads all of the request up to its topics.
    ///
    /// # Errors
    /// [`Malformed`] if that part is damaged.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, version, ApiKey::Fetch.is_flexible(version));
        let replica_id = if version <= 14 { i32::read(&mut reader)? } else { -1 };
        let max_wait_ms = i32::read(&mut reader)?;
        let min_bytes = i32::read(&mut reader)?;
        let max_bytes = i32::read(&mut reader)?;
        let isolation_level = i8::read(&mut reader)?;
        let (session_id, session_epoch) =
            if version >= 7 { (i32::read(&mut reader)?, i32::read(&mut reader)?) } else { (0, -1) };
        let topics = reader;
        Ok(Self {
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
        })
    }

    /// It names all it wants, whatever session it begins or ends: its epoch is the first (0) or the last (-1). Others go on with a session.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.session_epoch, -1 | 0)
    }

    /// Hands out topics and their partitions, in the order of the request; the index is the topic's.
    ///
    /// # Errors
    /// [`Malformed`] if the rest is damaged: nothing handed out before counts then.
    pub fn each(
        &self,
        mut topic: impl FnMut(TopicRef<'a>),
        mut partition: impl FnMut(usize, FetchPartition),
    ) -> Result<(), Malformed> {
        let mut reader = self.topics.clone();
        let topics = reader.count()?.ok_or(Malformed("null"))?;
        for at in 0..topics {
            let by_id = reader.version >= BY_ID_FIRST;
            topic(TopicRef::read(&mut reader, by_id)?);
            let partitions = reader.count()?.ok_or(Malformed("null"))?;
            for _ in 0..partitions {
                partition(at, FetchPartition::read(&mut reader)?);
            }
            reader.tags(|_, _| Ok(false))?;
        }
        if reader.version >= 7 {
            Vec::<ForgottenTopic<'a>>::read(&mut reader)?;
        }
        if reader.version >= 11 {
            super::wire::Text::read(&mut reader)?;
        }
        reader.tags(|tag, reader| match tag {
            1 if reader.version >= 15 => ReplicaState::read(reader).map(|_| true),
            _ => Ok(false),
        })
    }
}

/// What is told of one partition beside its records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionHead {
    /// Its index.
    pub index: i32,
    /// 0: fine.
    pub error_code: i16,
    /// The end of what consumers may see.
    pub high_watermark: i64,
    /// The end of what is committed.
    pub last_stable_offset: i64,
    /// The first offset there is.
    pub log_start_offset: i64,
    /// Transactions that were aborted in what is returned.
    pub aborted: Vec<AbortedTransaction>,
}

/// A batch on its way to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it is.
    Whole(Bytes),
    /// Its first octets, stamped, and the rest of it.
    Stamped([u8; STAMPED_BYTES], Bytes),
}

impl Piece {
    /// Octets of the batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Whole(octets) => octets.len(),
            Self::Stamped(head, rest) => head.len() + rest.len(),
        }
    }
}

/// A fetch response under construction.
#[derive(Debug)]
#[must_use = "the size is missing until it is ended"]
pub struct Response {
    version: i16,
    started: Started,
    shared_bytes: usize,
}

impl Response {
    /// Appends everything before the first topic.
    pub fn start(
        version: i16,
        correlation_id: i32,
        (error_code, session_id): (i16, i32),
        topics: usize,
        out: &mut Output,
    ) -> Self {
        let started = frame::start(ApiKey::Fetch, version, correlation_id, out.buffer());
        let response = Self { version, started, shared_bytes: 0 };
        let mut writer = response.writer(out);
        0_i32.write(&mut writer);
        if version >= 7 {
            error_code.write(&mut writer);
            session_id.write(&mut writer);
        }
        writer.long_len(Some(topics));
        response
    }

    fn writer<'o>(&self, out: &'o mut Output) -> Writer<'o> {
        let flexible = ApiKey::Fetch.is_flexible(self.version);
        Writer { out: out.buffer(), version: self.version, flexible }
    }

    /// Appends a topic's name or id, and how many partitions follow.
    pub fn topic(&mut self, topic: &TopicRef<'_>, partitions: usize, out: &mut Output) {
        let mut writer = self.writer(out);
        match topic {
            TopicRef::Name(name) => name.write(&mut writer),
            TopicRef::Id(id) => id.write(&mut writer),
        }
        writer.long_len(Some(partitions));
    }

    /// Appends one partition; large batches are shared.
    pub fn partition(&mut self, head: &PartitionHead, records: &[Piece], out: &mut Output) {
        let version = self.version;
        let mut writer = self.writer(out);
        head.index.write(&mut writer);
        head.error_code.write(&mut writer);
        head.high_watermark.write(&mut writer);
        head.last_stable_offset.write(&mut writer);
        if version >= 5 {
            head.log_start_offset.write(&mut writer);
        }
        head.aborted.write(&mut writer);
        if version >= 11 {
            (-1_i32).write(&mut writer);
        }
        writer.long_len(Some(records.iter().map(Piece::bytes).sum()));
        for piece in records {
            let octets = match piece {
                Piece::Whole(octets) => octets,
                Piece::Stamped(head, rest) => {
                    out.buffer().extend_from_slice(head);
                    rest
                }
            };
            if octets.len() < SHARE_BYTES_MIN {
                out.buffer().extend_from_slice(octets);
            } else {
                self.shared_bytes += octets.len();
                out.share(octets.clone());
            }
        }
        no_tags(&mut self.writer(out));
    }

    /// After the last partition of a topic.
    pub fn end_topic(&mut self, out: &mut Output) {
        no_tags(&mut self.writer(out));
    }

    /// After the last topic.
    pub fn end(self, out: &mut Output) {
        no_tags(&mut self.writer(out));
        self.started.end(self.shared_bytes, out.buffer());
    }
}

fn no_tags(writer: &mut Writer<'_>) {
    if writer.flexible {
        writer.uvarint(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::generated::fetch::{
        FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
    };
    use super::super::oracle::{Choice, Sample};
    use super::super::wire::Uuid;
    use super::*;
    use bytes::BytesMut;

    fn versions() -> std::ops::RangeInclusive<i16> {
        let (first, last) = ApiKey::Fetch.versions();
        first..=last
    }

    #[test]
    fn the_generated_reader_reads_the_same_request() {
        for (version, seed) in versions().flat_map(|version| (0..50).map(move |seed| (version, seed))) {
            let request = FetchRequest::sample(&mut Choice::new(version, seed));
            let mut octets = BytesMut::new();
            ApiKey::Fetch.write(version, &request, &mut octets);
            let fetch = Fetch::parse(version, &octets).unwrap();
            let FetchRequest { max_wait_ms, min_bytes, max_bytes, session_id, session_epoch, .. } = request;
            assert_eq!((fetch.max_wait_ms, fetch.min_bytes), (max_wait_ms, min_bytes));
            assert_eq!((fetch.max_bytes, fetch.isolation_level), (max_bytes, request.isolation_level));
            assert_eq!((fetch.session_id, fetch.session_epoch), (session_id, session_epoch));
            let mut topics = Vec::new();
            let mut partitions = Vec::new();
            fetch.each(|topic| topics.push(topic), |at, partition| partitions.push((at, partition))).unwrap();
            let expected = request.topics.iter().enumerate();
            let expected: Vec<_> = expected
                .flat_map(|(at, topic)| topic.partitions.iter().map(move |partition| (at, partition.clone())))
                .collect();
            assert_eq!((topics.len(), partitions), (request.topics.len(), expected));
            for short in 0..octets.len() {
                let cut = Fetch::parse(version, &octets[..short]);
                assert!(
                    cut.and_then(|cut| cut.each(|_| (), |_, _| ())).is_err(),
                    "{short} octets of {version}"
                );
            }
        }
    }

    #[test]
    fn the_generated_reader_reads_the_response() {
        let large = Bytes::from(vec![7; 2 * SHARE_BYTES_MIN]);
        let small = Bytes::from_static(b"small");
        let records = [&large[..], &small[..]].concat();
        for version in versions() {
            let (name, id) = (TopicRef::Name("a-topic".into()), TopicRef::Id(Uuid([9; 16])));
            let topic = if version >= BY_ID_FIRST { id } else { name };
            let aborted = vec![AbortedTransaction { producer_id: 3, first_offset: 4 }];
            let (index, high_watermark, last_stable_offset) = (2, 50, 40);
            let log_start_offset = if version >= 5 { 10 } else { -1 };
            let head = PartitionHead {
                index,
                error_code: 0,
                high_watermark,
                last_stable_offset,
                log_start_offset,
                aborted,
            };
            let mut out = Output::default();
            let mut response = Response::start(version, 77, (0, 0), 1, &mut out);
            response.topic(&topic, 1, &mut out);
            let (start, rest) = large.split_first_chunk().unwrap();
            let stamped = Piece::Stamped(*start, large.slice_ref(rest));
            response.partition(&head, &[stamped, Piece::Whole(small.clone())], &mut out);
            response.end_topic(&mut out);
            response.end(&mut out);
            let mut octets = Vec::new();
            out.take(|piece| octets.extend_from_slice(&piece));
            let (found, used) = frame::frame(&octets, 1 << 20).unwrap().unwrap();
            assert_eq!(used, octets.len());
            let head_bytes = if version >= 12 { 5 } else { 4 };
            let read: FetchResponse<'_> = ApiKey::Fetch.read(version, &found[head_bytes..]).unwrap();
            let partition = PartitionData {
                partition_index: 2,
                high_watermark: 50,
                last_stable_offset: 40,
                log_start_offset,
                aborted_transactions: Some(head.aborted),
                records: Some(&records),
                ..PartitionData::default()
            };
            let (topic, topic_id) = match topic {
                TopicRef::Name(name) => (name, Uuid::default()),
                TopicRef::Id(id) => ("".into(), id),
            };
            let responses = vec![FetchableTopicResponse { topic, topic_id, partitions: vec![partition] }];
            assert_eq!(read, FetchResponse { responses, ..FetchResponse::default() }, "version {version}");
        }
    }
}
