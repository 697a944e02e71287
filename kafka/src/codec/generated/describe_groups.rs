//! DescribeGroups (key 15): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DescribeGroupsRequest<'a> {
        groups: Vec<Text<'a>>;
        include_authorized_operations: bool, in 3..;
    }

    DescribedGroupMember<'a> {
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 4.., null 0..;
        client_id: Text<'a>;
        client_host: Text<'a>;
        member_metadata: &'a [u8];
        member_assignment: &'a [u8];
    }

    DescribedGroup<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, in 6.., null 0..;
        group_id: Text<'a>;
        group_state: Text<'a>;
        protocol_type: Text<'a>;
        protocol_data: Text<'a>;
        members: Vec<DescribedGroupMember<'a>>;
        authorized_operations: i32, default i32::MIN, in 3..;
    }

    DescribeGroupsResponse<'a> {
        throttle_time_ms: i32, in 1..;
        groups: Vec<DescribedGroup<'a>>;
    }
}
