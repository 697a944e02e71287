//! The messages of Kafka 4.3.1 that the dialect knows. Made by `cargo xtask codegen kafka`; change the generator, not this.

pub mod alter_configs;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod describe_user_scram_credentials;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;

/// Hands one row for each API to the macro `$then`: key, name, module, request, response, versions, first flexible version.
macro_rules! apis {
    ($then:ident) => {
        $then! {
            0 Produce produce ProduceRequest ProduceResponse 3..=13 9;
            1 Fetch fetch FetchRequest FetchResponse 4..=18 12;
            2 ListOffsets list_offsets ListOffsetsRequest ListOffsetsResponse 1..=11 6;
            3 Metadata metadata MetadataRequest MetadataResponse 0..=13 9;
            8 OffsetCommit offset_commit OffsetCommitRequest OffsetCommitResponse 2..=10 8;
            9 OffsetFetch offset_fetch OffsetFetchRequest OffsetFetchResponse 1..=10 6;
            10 FindCoordinator find_coordinator FindCoordinatorRequest FindCoordinatorResponse 0..=6 3;
            11 JoinGroup join_group JoinGroupRequest JoinGroupResponse 0..=9 6;
            12 Heartbeat heartbeat HeartbeatRequest HeartbeatResponse 0..=4 4;
            13 LeaveGroup leave_group LeaveGroupRequest LeaveGroupResponse 0..=5 4;
            14 SyncGroup sync_group SyncGroupRequest SyncGroupResponse 0..=5 4;
            15 DescribeGroups describe_groups DescribeGroupsRequest DescribeGroupsResponse 0..=6 5;
            16 ListGroups list_groups ListGroupsRequest ListGroupsResponse 0..=5 3;
            17 SaslHandshake sasl_handshake SaslHandshakeRequest SaslHandshakeResponse 0..=1 i16::MAX;
            18 ApiVersions api_versions ApiVersionsRequest ApiVersionsResponse 0..=4 3;
            19 CreateTopics create_topics CreateTopicsRequest CreateTopicsResponse 2..=7 5;
            20 DeleteTopics delete_topics DeleteTopicsRequest DeleteTopicsResponse 1..=6 4;
            21 DeleteRecords delete_records DeleteRecordsRequest DeleteRecordsResponse 0..=2 2;
            22 InitProducerId init_producer_id InitProducerIdRequest InitProducerIdResponse 0..=5 2;
            23 OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse 2..=4 4;
            29 DescribeAcls describe_acls DescribeAclsRequest DescribeAclsResponse 1..=3 2;
            30 CreateAcls create_acls CreateAclsRequest CreateAclsResponse 1..=3 2;
            31 DeleteAcls delete_acls DeleteAclsRequest DeleteAclsResponse 1..=3 2;
            32 DescribeConfigs describe_configs DescribeConfigsRequest DescribeConfigsResponse 1..=4 4;
            33 AlterConfigs alter_configs AlterConfigsRequest AlterConfigsResponse 0..=2 2;
            35 DescribeLogDirs describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse 1..=5 2;
            36 SaslAuthenticate sasl_authenticate SaslAuthenticateRequest SaslAuthenticateResponse 0..=2 2;
            37 CreatePartitions create_partitions CreatePartitionsRequest CreatePartitionsResponse 0..=3 2;
            42 DeleteGroups delete_groups DeleteGroupsRequest DeleteGroupsResponse 0..=2 2;
            44 IncrementalAlterConfigs incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse 0..=1 1;
            47 OffsetDelete offset_delete OffsetDeleteRequest OffsetDeleteResponse 0..=0 i16::MAX;
            50 DescribeUserScramCredentials describe_user_scram_credentials DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse 0..=0 0;
            51 AlterUserScramCredentials alter_user_scram_credentials AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse 0..=0 0;
            60 DescribeCluster describe_cluster DescribeClusterRequest DescribeClusterResponse 0..=2 0;
            61 DescribeProducers describe_producers DescribeProducersRequest DescribeProducersResponse 0..=0 0;
            74 ListConfigResources list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse 0..=1 0;
            75 DescribeTopicPartitions describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse 0..=0 0;
        }
    };
}

pub(crate) use apis;
