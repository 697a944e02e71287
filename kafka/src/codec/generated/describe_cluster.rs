//! DescribeCluster (key 60): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DescribeClusterRequest {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8, default 1, in 1..;
        include_fenced_brokers: bool, in 2..;
    }

    DescribeClusterBroker<'a> {
        broker_id: i32;
        host: Text<'a>;
        port: i32;
        rack: Option<Text<'a>>, null 0..;
        is_fenced: bool, in 2..;
    }

    DescribeClusterResponse<'a> {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        endpoint_type: i8, default 1, in 1..;
        cluster_id: Text<'a>;
        controller_id: i32, default -1;
        brokers: Vec<DescribeClusterBroker<'a>>;
        cluster_authorized_operations: i32, default i32::MIN;
    }
}
