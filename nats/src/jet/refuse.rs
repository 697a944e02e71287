//! JetStream's words for "no": the error of each refusal.
//!
//! Called by [`super::serve`]. Every refusal has its place here, by a `match` without `_`.

use super::error::{ApiError, Code};
use stele_model::id::Position;
use stele_model::refusal::{Object, Refusal};
use stele_model::share::ShareRefusal;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{BundleRefusal, RecordRefusal, Rollup};

/// The error of a refusal.
#[must_use]
pub fn refused(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::Stream(refusal) => stream_refused(refusal),
        Refusal::Exists { .. } => Code::StreamNameExists.error(),
        Refusal::Missing { object, name, .. } => match object {
            Object::Stream | Object::Queue => Code::StreamNotFound.error(),
            Object::Group => Code::ConsumerNotFound.error(),
            Object::Namespace | Object::Exchange => {
                Code::StreamGeneral.with(format_args!("there is no {object} {name:?}"))
            }
        },
        Refusal::Inequivalent { .. } => Code::StreamNameExists.error(),
        Refusal::InUse { object: Object::Stream, .. } => Code::StreamSubjectOverlap.error(),
        Refusal::InvalidArgument { argument, why, .. } => {
            Code::StreamInvalidConfig.with(format_args!("{argument}: {why}"))
        }
        Refusal::Reserved { why, .. } => Code::StreamInvalidConfig.with(why),
        Refusal::Denied { object, name, user, .. } => {
            Code::StreamGeneral.with(format_args!("user {user:?} may not do this to {object} {name:?}"))
        }
        Refusal::KeyDenied { key, user, .. } => {
            Code::StreamGeneral.with(format_args!("user {user:?} may not use subject {key:?}"))
        }
        Refusal::NamespaceDenied { .. } => Code::NotEnabledForAccount.error(),
        Refusal::Full { .. } => Code::StreamStoreFailed.with("maximum messages exceeded"),
        Refusal::Limit { .. } => Code::MaximumStreamsLimit.error(),
        Refusal::Unavailable { why } => Code::StreamStoreFailed.with(why),
        Refusal::NotImplemented { what } => {
            Code::StreamInvalidConfig.with(format_args!("{what} is not supported by this server"))
        }
        Refusal::Group(_)
        | Refusal::UnknownExchangeKind { .. }
        | Refusal::InternalExchange { .. }
        | Refusal::Locked { .. }
        | Refusal::ExclusiveConsumer { .. }
        | Refusal::InUse { .. }
        | Refusal::NotEmpty { .. } => Code::StreamGeneral.with(format_args!("refused: {refusal:?}")),
    }
}

fn stream_refused(refusal: &StreamRefusal) -> ApiError {
    match refusal {
        StreamRefusal::UnknownStream | StreamRefusal::UnknownUuid | StreamRefusal::UnknownPartition => {
            Code::StreamNotFound.error()
        }
        StreamRefusal::OutOfRange { .. } => Code::NoMessageFound.error(),
        StreamRefusal::TooLarge { .. } => Code::StreamMessageExceedsMaximum.error(),
        StreamRefusal::OutOfSequence
        | StreamRefusal::ProducerFenced
        | StreamRefusal::UnknownProducer
        | StreamRefusal::KeysMissing(_) => Code::StreamGeneral.with(format_args!("refused: {refusal:?}")),
        StreamRefusal::Record { why, .. } => record_refused(why),
    }
}

/// The sequence of a position; 0 for none.
fn sequence(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.0 + 1)
}

fn record_refused(refusal: &RecordRefusal) -> ApiError {
    match refusal {
        RecordRefusal::OtherStream => Code::StreamNotMatch.error(),
        // The next position is the last sequence.
        RecordRefusal::WrongEnd { is } => Code::StreamWrongLastSequence.with(is.0),
        RecordRefusal::WrongLast { is } => Code::StreamWrongLastSequence.with(sequence(*is)),
        RecordRefusal::WrongLastId { is } => {
            let id = is.as_deref().unwrap_or_default();
            Code::StreamWrongLastMsgId.with(String::from_utf8_lossy(id))
        }
        RecordRefusal::RecordsMax => Code::StreamStoreFailed.with("maximum messages exceeded"),
        RecordRefusal::BytesMax => Code::StreamStoreFailed.with("maximum bytes exceeded"),
        RecordRefusal::PerSubjectMax => Code::StreamStoreFailed.with("maximum messages per subject exceeded"),
        RecordRefusal::TooLarge { .. } => Code::StreamMessageExceedsMaximum.error(),
        RecordRefusal::Bundle(refusal) => batch_refused(refusal),
        // Who knows the record says more.
        RecordRefusal::Impossible => Code::BadRequest.error(),
        RecordRefusal::NoRollup => Code::StreamRollupFailed.with("rollup not permitted"),
        RecordRefusal::NoDue => Code::MessageSchedulesDisabled.error(),
        RecordRefusal::WrongDue => Code::MessageSchedulesTargetInvalid.error(),
        RecordRefusal::WrongSample => Code::MessageSchedulesSourceInvalid.error(),
        RecordRefusal::NotDue => Code::MessageSchedulesSchedulerInvalid.error(),
        RecordRefusal::NoTtl => Code::MessageTtlDisabled.error(),
        RecordRefusal::Sealed => Code::StreamSealed.error(),
        RecordRefusal::NoDelete => Code::StreamMsgDeleteFailed.with("message delete not permitted"),
        RecordRefusal::NoPurge => Code::StreamPurgeFailed.with("stream purge not permitted"),
        RecordRefusal::NoRecord => Code::NoMessageFound.error(),
        RecordRefusal::SubjectsOverlap => Code::StreamSubjectOverlap.error(),
        RecordRefusal::NotByRecord | RecordRefusal::NotSingle => Code::StreamNotFound.error(),
    }
}

fn batch_refused(refusal: &BundleRefusal) -> ApiError {
    match refusal {
        BundleRefusal::Disabled => Code::AtomicPublishDisabled.error(),
        BundleRefusal::Id => Code::AtomicPublishInvalidBatchId.error(),
        BundleRefusal::NoSequence => Code::AtomicPublishMissingSeq.error(),
        BundleRefusal::Incomplete => Code::AtomicPublishIncompleteBatch.error(),
        BundleRefusal::End => Code::AtomicPublishInvalidBatchCommit.error(),
        BundleRefusal::Unsupported => Code::RequiredApiLevel.error(),
        BundleRefusal::TooLarge { max } => Code::AtomicPublishTooLargeBatch.with(max),
        BundleRefusal::TooMany => Code::AtomicPublishTooManyInflight.error(),
        BundleRefusal::LastId => Code::AtomicPublishUnsupportedHeaderBatch.with("Nats-Expected-Last-Msg-Id"),
        BundleRefusal::Duplicate => Code::AtomicPublishContainsDuplicateMessage.error(),
        BundleRefusal::Condition => Code::StreamWrongLastSequenceConstant.error(),
        BundleRefusal::Rollup(Rollup::Subject) => Code::StreamRollupFailed.with("batch rollup sub invalid"),
        BundleRefusal::Rollup(Rollup::All) => Code::StreamRollupFailed.with("batch rollup all invalid"),
    }
}

/// The error of a shared group's refusal. `filtered`: the consumer that was asked for has filters.
#[must_use]
pub fn share_refused(refusal: &ShareRefusal, filtered: bool) -> ApiError {
    match refusal {
        ShareRefusal::Unknown => Code::ConsumerNotFound.error(),
        ShareRefusal::Exists => Code::ConsumerAlreadyExists.error(),
        ShareRefusal::Fixed(what) => Code::ConsumerCreate.with(format_args!("{what} can not be updated")),
        ShareRefusal::Full { .. } => Code::MaximumConsumersLimit.error(),
        ShareRefusal::InvalidName => {
            Code::ConsumerCreate.with("consumer name can not contain '.', '*', '>', '\\', '/'")
        }
        ShareRefusal::Invalid(what) => Code::ConsumerCreate.with(format_args!("{what} is not possible")),
        ShareRefusal::Overlap if filtered => Code::ConsumerWorkQueueNotUnique.error(),
        ShareRefusal::Overlap => Code::ConsumerWorkQueueMultipleUnfiltered.error(),
        ShareRefusal::NeedsSettles => Code::ConsumerWorkQueueRequiresExplicitAck.error(),
        ShareRefusal::IsPull => Code::ConsumerCreate.with("it is read by pull"),
        ShareRefusal::BeforePosition => Code::ConsumerInvalidReset.with("below start seq"),
        ShareRefusal::BeforeTime => Code::ConsumerInvalidReset.with("below start time"),
        ShareRefusal::NoPlace => Code::ConsumerInvalidReset.with("not allowed"),
    }
}
