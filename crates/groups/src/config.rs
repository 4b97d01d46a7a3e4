//! A group's settings and bounds.

/// Settings of a consumer group, by Kafka's names where Kafka has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after the first one, ms.
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.max.size`: most members, and besides them most ids that were handed out and not used yet.
    pub members_max: usize,
    /// How long a member may wait in its first join, ms. It has no other sign of life: a client that went away
    /// while it waited would stay in the group for ever.
    pub new_member_join_timeout_ms: i32,
    /// Most bytes of one member's protocols, names and metadata together.
    pub member_metadata_bytes_max: usize,
    /// Most bytes of the stored form of all members together; a record of an internal topic has to hold it.
    pub group_record_bytes_max: usize,
    /// `offset.metadata.max.bytes`: most bytes of the text stored with an offset.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, as ms: how long offsets outlive the group's last member.
    pub offsets_retention_ms: i64,
    /// `group.consumer.session.timeout.ms`: silence after which a member of a consumer group is expelled.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`: how often members of a consumer group are told to be heard of.
    pub consumer_heartbeat_interval_ms: i32,
    /// After the targets of a consumer group were made, how long they stay as they are for each of its members and
    /// partitions, us. What changes meanwhile goes into the next targets together.
    pub consumer_planning_pause_us: u32,
    /// `group.consumer.assignment.interval.ms`: most that comes to.
    pub consumer_assignment_interval_ms: i32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            // A tenth of Kafka's: people at a desk wait for it at every start.
            initial_rebalance_delay_ms: 300,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 30 * 60 * 1000,
            // Every member costs about 1 KiB in the group's one record.
            members_max: 1_000,
            new_member_join_timeout_ms: 5 * 60 * 1000,
            member_metadata_bytes_max: 256 * 1024,
            // Stays below one batch of 1 MiB with room for its header.
            group_record_bytes_max: 1_000 * 1024,
            offset_metadata_bytes_max: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            // Some ten times of what making them takes.
            consumer_planning_pause_us: 50,
            consumer_assignment_interval_ms: 1_000,
        }
    }
}
