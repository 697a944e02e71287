//! Requests about streams.

use super::{Call, Step, Stepped, done, partition};
use crate::jet::consumer::ConsumerConfig;
use crate::jet::error::{ApiError, Code};
use crate::jet::json;
use crate::jet::reply::{
    self, Cluster, Created, Described, LIST_MAX, NAMES_MAX, Paged, Purged, SUBJECTS_MAX, Streams, shown,
};
use crate::jet::request::{Page, PurgeRequest, StreamInfoRequest};
use crate::jet::settings;
use crate::jet::stream::{StreamConfig, StreamInfo};
use crate::jet::stream_check;
use crate::jet::subject::collide;
use crate::jet::time::Time;
use std::sync::Arc;
use stele_model::id::Position;
use stele_model::op::{CreateStream, Define, Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::share::ShareAnswer;
use stele_model::stream::records::{
    PurgeOf, RecordsAnswer, RecordsAsk, RecordsRequest, StateOf, StreamState, SubjectsOf,
};
use stele_model::stream::{self, StreamRef, StreamUuid};
use stele_model::subject::Pattern;

/// Most positions without a message that are listed.
const HOLES_MAX: u32 = 100_000;
/// How many streams are looked at at once.
const STATES_AT_ONCE: usize = 64;

/// A stream of JetStream's, with its configuration.
pub(super) type Found = (Arc<stream::StreamInfo>, StreamConfig);

/// Asks for one stream.
pub(super) fn look_up(name: &str) -> Step {
    Step::Ask(vec![Op::Streams(StreamsWanted::These(vec![StreamRef::Name(name.to_owned())]))])
}

/// The same, and what else there is, if the account has limits.
fn look_up_beside(call: &Call<'_>, name: &str) -> Step {
    let mut ops = vec![Op::Streams(StreamsWanted::These(vec![StreamRef::Name(name.to_owned())]))];
    if call.limits.bounds_streams() {
        ops.push(Op::Streams(StreamsWanted::All));
    }
    Step::Ask(ops)
}

/// Whether a stream may be like this beside those that [`look_up_beside`] found.
fn fits(call: &Call<'_>, config: &StreamConfig) -> Result<(), ApiError> {
    let Some(others) = call.stage(0).get(1) else { return Ok(()) };
    let others = all(done(others))?;
    call.limits.check_stream(config, others.iter().map(|(_, config)| config))
}

/// The stream that [`look_up`] found.
///
/// # Errors
/// 10059 if there is none, or if it is none of JetStream's.
pub(super) fn found(answer: Result<&Done, ApiError>) -> Result<Found, ApiError> {
    let info = match answer? {
        Done::Streams(streams) => streams.first().and_then(|stream| stream.as_ref().ok()),
        Done::Stream(info) => Some(info),
        other => unreachable!("the hub answers for a stream with {other:?}"),
    };
    let found = info.and_then(|info| Some((info.clone(), settings::config_of(info)?)));
    found.ok_or_else(|| Code::StreamNotFound.error())
}

/// All streams of JetStream's, by name.
pub(super) fn all(answer: Result<&Done, ApiError>) -> Result<Vec<Found>, ApiError> {
    let Done::Streams(streams) = answer? else { unreachable!("the hub answers streams with streams") };
    let infos = streams.iter().flatten();
    let mut all: Vec<Found> =
        infos.filter_map(|info| Some((info.clone(), settings::config_of(info)?))).collect();
    all.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(all)
}

pub(super) fn records(stream: &str, ask: RecordsAsk) -> Op {
    Op::Records(RecordsRequest { of: partition(stream), ask })
}

pub(super) fn ask_state(stream: &str, of: StateOf) -> Op {
    records(stream, RecordsAsk::State(of))
}

pub(super) fn state(outcome: &Outcome) -> Result<&StreamState, ApiError> {
    match done(outcome)? {
        Done::Records(RecordsAnswer::State(state)) => Ok(state),
        other => unreachable!("a shard answers for a state with {other:?}"),
    }
}

/// The states of these streams, asked for some at a time from stage `from` on; `Err(Ok(step))`: ask more.
pub(super) fn states<'c>(
    call: &'c Call<'_>,
    streams: &[Found],
    from: usize,
) -> Result<Vec<Option<&'c StreamState>>, Step> {
    let told: Vec<_> = call.stages.iter().skip(from).flatten().map(|outcome| state(outcome).ok()).collect();
    let rest = streams.get(told.len()..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(told);
    }
    let ask = |(info, _): &Found| ask_state(&info.name, StateOf::default());
    Err(Step::Ask(rest.iter().take(STATES_AT_ONCE).map(ask).collect()))
}

fn described(call: &Call<'_>, (info, config): Found, state: &StreamState) -> StreamInfo {
    shown(settings::stream_info(config, settings::created(&info), state, call.now))
}

pub(super) fn create(call: &Call<'_>, name: &str) -> Stepped {
    let config = stream_check::create(json::read(call.body)?, name)?;
    let Some(there) = call.answer(0) else { return Ok(look_up_beside(call, name)) };
    let is_there = match there? {
        Done::Streams(streams) => streams.first().and_then(|stream| stream.as_ref().ok()).cloned(),
        other => unreachable!("the hub answers for a stream with {other:?}"),
    };
    let Some(made) = call.answer(1) else {
        return match is_there {
            Some(info) => {
                let same = settings::config_of(&info).is_some_and(|old| stream_check::is_same(&old, &config));
                // What is there is told as if it had just been made.
                let state = || Step::Ask(vec![ask_state(name, StateOf::default())]);
                if same { Ok(state()) } else { Err(Code::StreamNameExists.error()) }
            }
            None => fits(call, &config).map(|()| {
                Step::Ask(vec![Op::Define(Define::CreateStream(CreateStream {
                    name: name.to_owned(),
                    uuid: StreamUuid::default(),
                    partitions: 1,
                    settings: settings::of_stream(&config),
                    arguments: settings::arguments(&config, Time::from(call.now)),
                    check_only: false,
                }))])
            }),
        };
    };
    let made = made?;
    if let Done::Records(RecordsAnswer::State(state)) = made {
        let Some(info) = is_there else { unreachable!("a state was asked for") };
        return call.done(Created { info: described(call, (info, config), state), did_create: true });
    }
    let Some(state_of) = call.stage(2).first() else {
        return Ok(Step::Ask(vec![ask_state(name, StateOf::default())]));
    };
    let made = found(Ok(made))?;
    call.done(Created { info: described(call, made, state(state_of)?), did_create: true })
}

pub(super) fn update(call: &Call<'_>, name: &str) -> Stepped {
    let new = stream_check::update(json::read(call.body)?, name)?;
    let Some(there) = call.answer(0) else { return Ok(look_up_beside(call, name)) };
    let (info, old) = found(there)?;
    let new = stream_check::update_from(&old, new)?;
    fits(call, &new)?;
    let looked = match look_for_bounded(call, name, (&old, &new))? {
        Ok(stages) => stages,
        Err(ask) => return Ok(ask),
    };
    let Some(altered) = call.answer(1 + looked) else {
        return Ok(Step::Ask(vec![Op::Define(Define::AlterStream {
            stream: StreamRef::Name(name.to_owned()),
            settings: settings::of_stream(&new),
            arguments: settings::arguments(&new, settings::created(&info)),
            check_only: false,
        })]));
    };
    let altered = found(altered)?;
    let Some(state_of) = call.stage(2 + looked).first() else {
        return Ok(Step::Ask(vec![ask_state(name, StateOf::default())]));
    };
    call.done(described(call, altered, state(state_of)?))
}

/// Looks at a stream's consumers, some at a time from stage 1 on, if it is about to allow them less: how many stages that took; `Ok(Err(step))`:
/// ask more. It ends with the first that have too much, so that what is said of them is not long.
fn look_for_bounded(
    call: &Call<'_>,
    name: &str,
    (old, new): (&StreamConfig, &StreamConfig),
) -> Result<Result<usize, Step>, ApiError> {
    let limits = (&old.consumer_limits, &new.consumer_limits);
    if !stream_check::narrows(limits.0, limits.1) {
        return Ok(Ok(0));
    }
    let (mut looked, mut offset) = (0, 0);
    loop {
        let Some(listed) = call.answer(1 + looked) else {
            let count_max = LIST_MAX as u32;
            return Ok(Err(Step::Ask(vec![Op::Shares { of: partition(name), offset, count_max }])));
        };
        let Done::Share(Ok(ShareAnswer::Listed { groups, total })) = listed? else {
            return Err(Code::StreamNotFound.error());
        };
        let configs: Vec<ConsumerConfig> = groups.iter().map(settings::consumer_config).collect();
        let beyond = stream_check::beyond(limits, &configs);
        if !beyond.is_empty() {
            let why = format!("change to limits violates consumers: {}", beyond.join(", "));
            return Err(Code::StreamUpdate.with(why));
        }
        (looked, offset) = (looked + 1, offset + groups.len() as u64);
        if groups.is_empty() || offset >= *total {
            return Ok(Ok(looked));
        }
    }
}

/// Parameters that may be left out, or be any text that says nothing.
pub(super) fn optional<T: serde::de::DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if json::is_object_or_array(body) { json::read(body) } else { Ok(T::default()) }
}

/// The streams that a page is about, and how many there are in all.
fn page(call: &Call<'_>, page: &Page, limit: usize) -> Result<Option<(Vec<Found>, usize, usize)>, ApiError> {
    let Some(streams) = call.answer(0) else { return Ok(None) };
    let mut streams = all(streams)?;
    if !page.subject.is_empty() {
        let wanted = |(_, config): &Found| config.subjects.iter().any(|of| collide(of, &page.subject));
        streams.retain(wanted);
    }
    let total = streams.len();
    let offset = page.offset(total);
    let streams = streams.into_iter().skip(offset).take(limit).collect();
    Ok(Some((streams, total, offset)))
}

pub(super) fn names(call: &Call<'_>) -> Stepped {
    let Some((streams, total, offset)) = page(call, &optional(call.body)?, NAMES_MAX)? else {
        return Ok(Step::Ask(vec![Op::Streams(StreamsWanted::All)]));
    };
    let names: Vec<String> = streams.into_iter().map(|(info, _)| info.name.clone()).collect();
    let entries = Streams { streams: (!names.is_empty()).then_some(names) };
    call.done(Paged { total, offset, limit: NAMES_MAX, entries })
}

pub(super) fn list(call: &Call<'_>) -> Stepped {
    let Some((streams, total, offset)) = page(call, &optional(call.body)?, LIST_MAX)? else {
        return Ok(Step::Ask(vec![Op::Streams(StreamsWanted::All)]));
    };
    let states = match states(call, &streams, 1) {
        Ok(states) => states,
        Err(ask) => return Ok(ask),
    };
    // One that has gone meanwhile is left out.
    let told = streams.into_iter().zip(states);
    let infos = told.filter_map(|(found, state)| Some(described(call, found, state?))).collect();
    call.done(Paged { total, offset, limit: LIST_MAX, entries: Streams { streams: Some(infos) } })
}

pub(super) fn info(call: &Call<'_>, name: &str) -> Stepped {
    let request: StreamInfoRequest = optional(call.body)?;
    let Some(there) = call.answer(0) else { return Ok(look_up(name)) };
    let there = found(there)?;
    let offset = u64::try_from(request.offset).unwrap_or(0);
    let filter = Pattern::new(request.subjects_filter.clone());
    let Some(state_of) = call.stage(1).first() else {
        let subjects = filter.map(|pattern| SubjectsOf { pattern, offset, count_max: SUBJECTS_MAX as u32 });
        let of = StateOf { subjects, holes_max: request.deleted_details.then_some(HOLES_MAX) };
        return Ok(Step::Ask(vec![ask_state(name, of)]));
    };
    let state = state(state_of)?;
    let total = usize::try_from(state.counted_all).unwrap_or(usize::MAX);
    let (offset, limit) =
        if total > 0 { (usize::try_from(offset).unwrap_or(usize::MAX), SUBJECTS_MAX) } else { (0, 0) };
    let cluster = Cluster { leader: call.server };
    call.done(Described { total, offset, limit, info: described(call, there, state), cluster })
}

/// What a request that carries nothing says if it does.
pub(super) fn nothing(body: &[u8]) -> Result<(), ApiError> {
    if json::is_empty_request(body) { Ok(()) } else { Err(Code::NotEmptyRequest.error()) }
}

pub(super) fn delete(call: &Call<'_>, name: &str) -> Stepped {
    nothing(call.body)?;
    let Some(there) = call.answer(0) else { return Ok(look_up(name)) };
    found(there)?;
    let Some(deleted) = call.answer(1) else {
        return Ok(Step::Ask(vec![Op::Define(Define::DeleteStream {
            stream: StreamRef::Name(name.to_owned()),
        })]));
    };
    deleted?;
    call.done(reply::SUCCESS)
}

pub(super) fn purge(call: &Call<'_>, name: &str) -> Stepped {
    let request: PurgeRequest = optional(call.body)?;
    request.check()?;
    let Some(there) = call.answer(0) else { return Ok(look_up(name)) };
    let (_, config) = found(there)?;
    if config.sealed {
        return Err(Code::StreamSealed.error());
    }
    let Some(purged) = call.answer(1) else {
        let purge = PurgeOf {
            subjects: Pattern::new(request.filter.clone()),
            below: (request.seq > 0).then(|| Position(request.seq - 1)),
            keep: (request.keep > 0).then_some(request.keep),
        };
        return Ok(Step::Ask(vec![records(name, RecordsAsk::Purge(purge))]));
    };
    match purged? {
        Done::Records(RecordsAnswer::Removed(purged)) => call.done(Purged { success: true, purged: *purged }),
        other => unreachable!("a shard answers a purge with {other:?}"),
    }
}
