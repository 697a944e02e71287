//! Produce (key 0) by hand: the batches are handed out as slices of the request, in its order, without a structure in between.
//!
//! The generated reader of the same messages is the oracle of the tests.

use super::Malformed;
use super::api::ApiKey;
use super::wire::{Reader, Text, Uuid, Wire};

/// A topic, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef<'a> {
    /// By its name.
    Name(Text<'a>),
    /// By its id (Produce and Fetch from version 13 on).
    Id(Uuid),
}

impl<'a> TopicRef<'a> {
    /// Reads a topic's name or, where `by_id`, its id.
    pub(super) fn read(reader: &mut Reader<'a>, by_id: bool) -> Result<Self, Malformed> {
        if by_id { Uuid::read(reader).map(Self::Id) } else { Text::read(reader).map(Self::Name) }
    }
}

/// A produce request.
#[derive(Clone, Debug)]
pub struct Produce<'a> {
    /// Set in a transaction.
    pub transactional_id: Option<Text<'a>>,
    /// 0: no answer; 1 or −1: when it is durable.
    pub acks: i16,
    /// How long the client would have the broker wait for replicas, ms.
    pub timeout_ms: i32,
    topics: Reader<'a>,
}

/// What is to be appended to one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionProduce<'a> {
    /// The topic's index in the request.
    pub topic: usize,
    /// The partition's index in the topic.
    pub index: i32,
    /// One batch, it should be.
    pub records: Option<&'a [u8]>,
}

impl<'a> Produce<'a> {
    /// First version that names topics by id.
    pub const BY_ID_FIRST: i16 = 13;

    /// Reads all of the request up to its topics.
    ///
    /// # Errors
    /// [`Malformed`] if that part is damaged.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, version, ApiKey::Produce.is_flexible(version));
        Ok(Self {
            transactional_id: Wire::read(&mut reader)?,
            acks: i16::read(&mut reader)?,
            timeout_ms: i32::read(&mut reader)?,
            topics: reader,
        })
    }

    /// Hands out topics and their partitions, in the order of the request.
    ///
    /// # Errors
    /// [`Malformed`] if the rest is damaged: nothing handed out before counts then.
    pub fn each(
        &self,
        mut topic: impl FnMut(TopicRef<'a>),
        mut partition: impl FnMut(PartitionProduce<'a>),
    ) -> Result<(), Malformed> {
        let mut reader = self.topics.clone();
        let topics = reader.count()?.ok_or(Malformed("null"))?;
        for at in 0..topics {
            let by_id = reader.version >= Self::BY_ID_FIRST;
            topic(TopicRef::read(&mut reader, by_id)?);
            let partitions = reader.count()?.ok_or(Malformed("null"))?;
            for _ in 0..partitions {
                let index = i32::read(&mut reader)?;
                let records = Wire::read(&mut reader)?;
                reader.tags(|_, _| Ok(false))?;
                partition(PartitionProduce { topic: at, index, records });
            }
            reader.tags(|_, _| Ok(false))?;
        }
        reader.tags(|_, _| Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::generated::produce::ProduceRequest;
    use super::super::oracle::{Choice, Sample};
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn the_generated_reader_reads_the_same() {
        let (first, last) = ApiKey::Produce.versions();
        for (version, seed) in (first..=last).flat_map(|version| (0..50).map(move |seed| (version, seed))) {
            let request = ProduceRequest::sample(&mut Choice::new(version, seed));
            let mut octets = BytesMut::new();
            ApiKey::Produce.write(version, &request, &mut octets);
            let produce = Produce::parse(version, &octets).unwrap();
            assert_eq!(produce.transactional_id, request.transactional_id);
            assert_eq!((produce.acks, produce.timeout_ms), (request.acks, request.timeout_ms));
            let (mut topics, mut partitions) = (Vec::new(), Vec::new());
            produce.each(|topic| topics.push(topic), |partition| partitions.push(partition)).unwrap();
            let mut expected = Vec::new();
            for (at, topic) in request.topic_data.iter().enumerate() {
                match &topics[at] {
                    TopicRef::Name(name) => assert_eq!(*name, topic.name),
                    TopicRef::Id(id) => assert_eq!(*id, topic.topic_id),
                }
                expected.extend(topic.partition_data.iter().map(|partition| PartitionProduce {
                    topic: at,
                    index: partition.index,
                    records: partition.records,
                }));
            }
            assert_eq!((topics.len(), partitions), (request.topic_data.len(), expected));
            for short in 0..octets.len() {
                let cut = Produce::parse(version, &octets[..short]);
                assert!(cut.and_then(|cut| cut.each(|_| (), |_| ())).is_err(), "{short} octets of {version}");
            }
        }
    }
}
