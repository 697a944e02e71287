//! Requests about consumers.

use super::streams::{found, look_up, nothing, optional};
use super::{Call, Numbers, Step, Stepped, done, partition, share};
use crate::jet::api::Consumer;
use crate::jet::consumer::{AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy};
use crate::jet::consumer_check::{self, Action, CreateConsumer, Named};
use crate::jet::error::{ApiError, Code};
use crate::jet::json;
use crate::jet::pull::Status;
use crate::jet::refuse::share_refused;
use crate::jet::reply::{self, Consumers, LIST_MAX, NAMES_MAX, Paged, Paused, Reset, shown_consumer};
use crate::jet::request::{ConsumersPage, Page, PauseRequest, ResetRequest, UnpinRequest};
use crate::jet::settings;
use crate::jet::stream::{Retention, StreamConfig};
use crate::jet::time::Time;
use stele_model::id::Position;
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::Done;
use stele_model::share::{Expect, ShareAnswer, ShareInfo, ShareRefusal, ShareRequest, ShareVerb};
use stele_model::stream::StreamRef;

/// What a group said.
fn said(answer: Result<&Done, ApiError>) -> Result<Result<&ShareAnswer, &ShareRefusal>, ApiError> {
    match answer? {
        Done::Share(answer) => Ok(answer.as_ref()),
        other => unreachable!("the hub answers for a shared group with {other:?}"),
    }
}

fn there(answer: Result<&Done, ApiError>) -> Result<&ShareInfo, ApiError> {
    match said(answer)?.map_err(|refusal| share_refused(refusal, false))? {
        ShareAnswer::Info(info) | ShareAnswer::Put { info, .. } => Ok(info),
        other => unreachable!("a shared group tells of itself with {other:?}"),
    }
}

fn ask(stream: &str, consumer: &str, verb: ShareVerb) -> Op {
    Op::Share(ShareRequest { share: share(stream, consumer), verb })
}

fn told(call: &Call<'_>, stream: &str, info: &ShareInfo) -> ConsumerInfo {
    shown_consumer(settings::consumer_info(stream, info, call.now))
}

/// Asks for the stream, and how many consumers it has, if the account bounds that.
fn look_up_beside(call: &Call<'_>, stream: &str) -> Step {
    let mut ops = vec![Op::Streams(StreamsWanted::These(vec![StreamRef::Name(stream.to_owned())]))];
    if call.limits.consumers_max.is_some() {
        ops.push(Op::Shares { of: partition(stream), offset: 0, count_max: 1 });
    }
    Step::Ask(ops)
}

/// Whether one more consumer may be beside those that [`look_up_beside`] counted.
fn fits(call: &Call<'_>) -> Result<(), ApiError> {
    let (Some(max), Some(counted)) = (call.limits.consumers_max, call.stage(0).get(1)) else { return Ok(()) };
    match done(counted)? {
        Done::Share(Ok(ShareAnswer::Listed { total, .. })) if *total >= u64::from(max) => {
            Err(Code::MaximumConsumersLimit.error())
        }
        _ => Ok(()),
    }
}

/// Stages: the stream; the consumer of that name, if it has one; what became of it. The name that is made up for one without
/// is in the last question only, so a request that is taken up again does not make up another.
pub(super) fn create(call: &Call<'_>, named: Named<'_>, numbers: &mut Numbers) -> Stepped {
    let mut request: CreateConsumer = json::read(call.body)?;
    consumer_check::named(&mut request, named)?;
    let Some(stream) = call.answer(0) else { return Ok(look_up_beside(call, named.stream)) };
    let (_, stream) = found(stream)?;
    let has_name = !request.config.name.is_empty();
    let put_stage = if has_name { 2 } else { 1 };
    if let Some(put) = call.answer(put_stage) {
        let put = said(put)?.map_err(|refusal| put_refused(refusal, &request, &stream))?;
        let ShareAnswer::Put { info, .. } = put else { unreachable!("a group is put: {put:?}") };
        return call.done(told(call, named.stream, info));
    }
    let old = match call.answer(1) {
        None if has_name => {
            return Ok(Step::Ask(vec![ask(named.stream, &request.config.name, ShareVerb::Info)]));
        }
        None => None,
        Some(answer) => match said(answer)? {
            Ok(ShareAnswer::Info(info)) => Some(info),
            Ok(other) => unreachable!("a shared group tells of itself with {other:?}"),
            Err(_) => None,
        },
    };
    let config = checked(&request, &stream, old.map(AsRef::as_ref))?;
    if old.is_none() {
        fits(call)?;
    }
    let name = if has_name { config.name.clone() } else { numbers.name() };
    let settings = Box::new(settings::of_consumer(&config));
    let expect = match request.action {
        Action::Create => Expect::New,
        Action::Update => Expect::There,
        Action::Either => Expect::Any,
    };
    Ok(Step::Ask(vec![ask(named.stream, &name, ShareVerb::Put { settings, expect })]))
}

/// The configuration that is asked for, if it may take the place of what is there.
fn checked(
    request: &CreateConsumer,
    stream: &StreamConfig,
    old: Option<&ShareInfo>,
) -> Result<ConsumerConfig, ApiError> {
    let mut config = request.config.clone();
    if let Some(old) = old {
        // Only a request of its own pauses a consumer that is there.
        config.pause_until = old.settings.pause_until.map(Time::from);
        // An update that leaves it out does not make the consumer one that goes by itself.
        let before = settings::consumer_config(old);
        if config.durable_name.is_empty() && config.name == before.durable_name {
            config.durable_name = before.durable_name;
        }
    }
    let mut config = consumer_check::check(config, stream, request.pedantic)?;
    let Some(old) = old else {
        if request.action == Action::Update {
            return Err(Code::ConsumerDoesNotExist.error());
        }
        consumer_check::beside(&config, stream, true, [])?;
        consumer_check::stamp_inactive(&mut config);
        return Ok(config);
    };
    let before = settings::consumer_config(old);
    if request.action == Action::Create && !consumer_check::is_same(&before, &config) {
        return Err(Code::ConsumerAlreadyExists.error());
    }
    consumer_check::update_from(&before, &config, old.attached > 0)?;
    consumer_check::stamp_inactive(&mut config);
    Ok(config)
}

/// Why a group was not put, in the words for this request.
fn put_refused(refusal: &ShareRefusal, request: &CreateConsumer, stream: &StreamConfig) -> ApiError {
    let config = &request.config;
    let explicit = config.ack_policy == AckPolicy::Explicit;
    let work = stream.retention == Retention::WorkQueue;
    if work
        && explicit
        && config.deliver_policy != DeliverPolicy::All
        && *refusal == ShareRefusal::NeedsSettles
    {
        return Code::ConsumerWorkQueueNotDeliverAll.error();
    }
    if *refusal == ShareRefusal::Exists && request.action == Action::Update {
        return Code::ConsumerDoesNotExist.error();
    }
    share_refused(refusal, !config.filters().is_empty())
}

pub(super) fn info(call: &Call<'_>, of: Consumer<'_>) -> Stepped {
    nothing(call.body)?;
    let Some(stream) = call.answer(0) else { return Ok(look_up(of.stream)) };
    found(stream)?;
    let Some(info) = call.answer(1) else {
        return Ok(Step::Ask(vec![ask(of.stream, of.name, ShareVerb::Info)]));
    };
    let info = there(info)?;
    // What was pushed is not pending any more, so it has to be there before the answer that says so.
    if settings::consumer_config(info).is_push() && call.answer(2).is_none() {
        return Ok(Step::Ask(vec![Op::CatchUp]));
    }
    call.done(told(call, of.stream, info))
}

pub(super) fn delete(call: &Call<'_>, of: Consumer<'_>) -> Stepped {
    nothing(call.body)?;
    let Some(stream) = call.answer(0) else { return Ok(look_up(of.stream)) };
    found(stream)?;
    let Some(deleted) = call.answer(1) else {
        return Ok(Step::Ask(vec![ask(of.stream, of.name, ShareVerb::Delete)]));
    };
    said(deleted)?.map_err(|refusal| share_refused(refusal, false))?;
    call.done(reply::SUCCESS)
}

pub(super) fn pause(call: &Call<'_>, of: Consumer<'_>) -> Stepped {
    let request: PauseRequest = optional(call.body)?;
    let Some(stream) = call.answer(0) else { return Ok(look_up(of.stream)) };
    found(stream)?;
    let Some(paused) = call.answer(1) else {
        let until = settings::pause(request.pause_until);
        return Ok(Step::Ask(vec![ask(of.stream, of.name, ShareVerb::Pause(until))]));
    };
    there(paused)?;
    let until = request.pause_until;
    let left = until.unix_nanos().saturating_sub(Time::from(call.now).unix_nanos()).max(0);
    let left = if until.is_zero() { 0 } else { left };
    call.done(Paused { paused: left > 0, pause_until: until, pause_remaining: left })
}

/// A consumer begins again: behind what is acknowledged, or at a sequence. Each consumer of nats-server listens for this itself, so nobody
/// answers for one that is not there.
pub(super) fn unpin(call: &Call<'_>, of: Consumer<'_>) -> Stepped {
    let request: UnpinRequest = json::read_lenient(call.body)?;
    request.check_name()?;
    let Some(stream) = call.answer(0) else { return Ok(look_up(of.stream)) };
    found(stream)?;
    Err(Code::ConsumerInvalidPriorityGroup.error())
}

pub(super) fn reset(call: &Call<'_>, of: Consumer<'_>) -> Stepped {
    let nobody = Ok(Step::Status(Status::no_responders()));
    let Some(stream) = call.answer(0) else { return Ok(look_up(of.stream)) };
    if found(stream).is_err() {
        return nobody;
    }
    let Some(answer) = call.answer(1) else {
        let request: ResetRequest = json::read_lenient(call.body)?;
        let at = request.seq.checked_sub(1).map(Position);
        return Ok(Step::Ask(vec![ask(of.stream, of.name, ShareVerb::Reset(at))]));
    };
    match said(answer)? {
        Ok(ShareAnswer::Reset { at, info }) => {
            call.done(Reset { info: told(call, of.stream, info), reset_seq: at.0 + 1 })
        }
        Ok(other) => unreachable!("a shared group begins again with {other:?}"),
        Err(ShareRefusal::Unknown) => nobody,
        Err(refusal) => Err(share_refused(refusal, false)),
    }
}

/// A page of a stream's consumers.
struct Listing<'c> {
    groups: &'c [ShareInfo],
    /// How many there are in all.
    total: usize,
    /// How many were passed over.
    offset: usize,
}

/// The page that is asked for; `Err`: ask first.
fn page<'c>(call: &'c Call<'_>, stream: &str, limit: usize) -> Result<Result<Listing<'c>, Step>, ApiError> {
    let page: ConsumersPage = optional(call.body)?;
    let page = Page { offset: page.offset, ..Page::default() };
    let Some(there) = call.answer(0) else { return Ok(Err(look_up(stream))) };
    found(there)?;
    let offset = u64::try_from(page.offset).unwrap_or(0);
    let Some(listed) = call.answer(1) else {
        let count_max = u32::try_from(limit).unwrap_or(u32::MAX);
        return Ok(Err(Step::Ask(vec![Op::Shares { of: partition(stream), offset, count_max }])));
    };
    match said(listed)?.map_err(|refusal| share_refused(refusal, false))? {
        ShareAnswer::Listed { groups, total } => {
            let total = usize::try_from(*total).unwrap_or(usize::MAX);
            Ok(Ok(Listing { groups, total, offset: page.offset(total) }))
        }
        other => unreachable!("shared groups are listed: {other:?}"),
    }
}

pub(super) fn names(call: &Call<'_>, stream: &str) -> Stepped {
    let Listing { groups, total, offset } = match page(call, stream, NAMES_MAX)? {
        Ok(page) => page,
        Err(ask) => return Ok(ask),
    };
    let consumers = Some(groups.iter().map(|info| info.group.clone()).collect::<Vec<_>>());
    call.done(Paged { total, offset, limit: NAMES_MAX, entries: Consumers { consumers } })
}

pub(super) fn list(call: &Call<'_>, stream: &str) -> Stepped {
    let Listing { groups, total, offset } = match page(call, stream, LIST_MAX)? {
        Ok(page) => page,
        Err(ask) => return Ok(ask),
    };
    let consumers = Some(groups.iter().map(|info| told(call, stream, info)).collect::<Vec<_>>());
    call.done(Paged { total, offset, limit: LIST_MAX, entries: Consumers { consumers } })
}
