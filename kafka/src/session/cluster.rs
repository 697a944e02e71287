//! DescribeCluster (key 60) and FindCoordinator (10): one node is everything.

use super::serve::{Context, Stages, Step};
use crate::codec::generated::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::codec::generated::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::refuse::{Code, Fault};

/// First version that asks for many at once.
const MANY_FIRST: i16 = 4;
/// The kind of coordinator that a group has.
const GROUP: i8 = 0;
/// The kind of coordinator that a transaction has.
const TRANSACTION: i8 = 1;
/// The endpoint is a broker's.
const BROKERS: i8 = 1;
/// The endpoint is a controller's.
const CONTROLLERS: i8 = 2;

/// DescribeCluster.
pub(super) fn describe<'a>(
    context: &mut Context<'_>,
    request: DescribeClusterRequest,
    _: &'a Stages,
) -> Step<DescribeClusterResponse<'a>> {
    let profile = context.profile;
    if request.endpoint_type != BROKERS {
        let known = request.endpoint_type == CONTROLLERS;
        let code = if known { Code::MismatchedEndpointType } else { Code::UnsupportedEndpointType };
        return Step::Answer(DescribeClusterResponse {
            error_code: code.number(),
            error_message: Some("this endpoint is a broker's".into()),
            ..DescribeClusterResponse::default()
        });
    }
    let broker = DescribeClusterBroker {
        broker_id: profile.node_id,
        host: profile.host.clone().into(),
        port: i32::from(profile.port),
        ..DescribeClusterBroker::default()
    };
    Step::Answer(DescribeClusterResponse {
        cluster_id: profile.cluster_id.clone().into(),
        controller_id: profile.node_id,
        brokers: vec![broker],
        ..DescribeClusterResponse::default()
    })
}

/// FindCoordinator.
pub(super) fn find_coordinator<'a>(
    context: &mut Context<'_>,
    request: FindCoordinatorRequest<'a>,
    _: &'a Stages,
) -> Step<FindCoordinatorResponse<'a>> {
    let profile = context.profile;
    let fault = match request.key_type {
        GROUP => None,
        TRANSACTION => Some(Fault::transactional()),
        _ => Some(Fault::new(Code::InvalidRequest, "there are coordinators of groups only")),
    };
    let (error_code, error_message) = match fault {
        Some(fault) => (fault.code.number(), Some(fault.text.into())),
        None => (Code::None.number(), None),
    };
    let (node_id, host, port) = match &error_message {
        None => (profile.node_id, profile.host.clone(), i32::from(profile.port)),
        Some(_) => (-1, String::new(), -1),
    };
    if context.version < MANY_FIRST {
        let host = host.into();
        return Step::Answer(FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..FindCoordinatorResponse::default()
        });
    }
    let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
        key: key.clone(),
        node_id,
        host: host.clone().into(),
        port,
        error_code,
        error_message: error_message.clone(),
    });
    let coordinators = coordinators.collect();
    Step::Answer(FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() })
}
