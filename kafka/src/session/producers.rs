//! InitProducerId (key 22): a number for an idempotent producer. Transactions are not spoken.

use super::produce::offset;
use super::serve::{Context, Stages, Step, done};
use crate::codec::generated::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::refuse::{Code, Fault, refused};
use stele_model::op::Op;
use stele_model::outcome::Done;

/// InitProducerId. A producer that has a number already and asks again gets a new one, as in Kafka.
pub(super) fn init(
    _: &mut Context<'_>,
    request: InitProducerIdRequest<'_>,
    stages: &Stages,
) -> Step<InitProducerIdResponse> {
    let failed = |code: Code| {
        let (error_code, producer_epoch) = (code.number(), -1);
        Step::Answer(InitProducerIdResponse {
            error_code,
            producer_epoch,
            ..InitProducerIdResponse::default()
        })
    };
    match (request.transactional_id.as_deref(), stages.first()) {
        (Some(""), _) => failed(Code::InvalidRequest),
        (Some(_), _) => failed(Fault::transactional().code),
        (None, _) if (request.producer_id == -1) != (request.producer_epoch == -1) => {
            failed(Code::InvalidRequest)
        }
        (None, None) => Step::Ask(vec![Op::NewProducer]),
        (None, Some(outcomes)) => match done(&outcomes[0]) {
            Ok(Done::Producer(id)) => Step::Answer(InitProducerIdResponse {
                producer_id: offset(*id),
                ..InitProducerIdResponse::default()
            }),
            Err(refusal) => failed(refused(refusal).code),
            Ok(other) => unreachable!("the hub answers a new producer with {other:?}"),
        },
    }
}
