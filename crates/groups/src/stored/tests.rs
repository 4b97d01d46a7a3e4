use super::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Arc<str>> {
    "[a-zäöü.-]{0,12}".prop_map(Arc::from)
}

fn blob() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-z0-9_-]{1,12}".prop_map(|name| TopicName::new(&name).unwrap())
}

fn committed() -> impl Strategy<Value = Committed> {
    (any::<i64>(), any::<i32>(), text(), any::<i64>()).prop_map(|(offset, epoch, metadata, at)| Committed {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(epoch),
        metadata,
        committed_at: Timestamp(at),
    })
}

fn member(index: usize) -> impl Strategy<Value = StoredMember> {
    let timeouts = (0..i32::MAX, any::<i32>());
    (any::<bool>(), text(), text(), timeouts, blob(), blob()).prop_map(
        move |(is_static, client_id, client_host, timeouts, metadata, assignment)| StoredMember {
            member_id: MemberId(format!("member-{index}").into()),
            instance_id: is_static.then(|| InstanceId(format!("instance-{index}").into())),
            client_id,
            client_host,
            session_timeout_ms: timeouts.0,
            rebalance_timeout_ms: timeouts.1,
            protocols: vec![
                Protocol { name: "range".into(), metadata: metadata.clone() },
                Protocol { name: "sticky".into(), metadata },
            ],
            assignment,
        },
    )
}

fn stored() -> impl Strategy<Value = StoredGroup> {
    let members = (0usize..4).prop_flat_map(|count| (0..count).map(member).collect::<Vec<_>>());
    (0..i32::MAX, text(), prop::option::of(any::<i64>()), members).prop_map(
        |(generation, protocol_type, since, members)| StoredGroup {
            generation: Generation(generation),
            protocol_type,
            protocol: if members.is_empty() { "".into() } else { "sticky".into() },
            leader: members.last().map(|member| member.member_id.clone()),
            empty_since: since.map(Timestamp),
            members,
        },
    )
}

fn record() -> impl Strategy<Value = GroupRecord> {
    let group = || text().prop_map(GroupId);
    let partition = || any::<i32>().prop_map(PartitionId);
    prop_oneof![
        (group(), topic(), partition(), committed()).prop_map(|(group, topic, partition, committed)| {
            GroupRecord::Offset { group, topic, partition, committed }
        }),
        (group(), topic(), partition()).prop_map(|(group, topic, partition)| GroupRecord::OffsetTombstone {
            group,
            topic,
            partition
        }),
        (group(), any::<i64>(), topic(), partition(), prop::option::of(committed())).prop_map(
            |(group, id, topic, partition, committed)| {
                let producer_id = ProducerId(id);
                match committed {
                    Some(committed) => {
                        GroupRecord::Waiting { group, producer_id, topic, partition, committed }
                    }
                    None => GroupRecord::WaitingTombstone { group, producer_id, topic, partition },
                }
            }
        ),
        (group(), stored()).prop_map(|(group, stored)| GroupRecord::Group { group, stored }),
        group().prop_map(|group| GroupRecord::GroupTombstone { group }),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back(record in record()) {
        let (key, value) = record.encode();
        if let GroupRecord::Group { stored, .. } = &record {
            prop_assert_eq!(value.as_ref().map(Bytes::len), Some(stored.encoded_len()));
        }
        prop_assert_eq!(GroupRecord::decode(&key, value.as_deref()), Ok(record));
    }

    #[test]
    fn cut_records_are_refused(record in record()) {
        let (key, value) = record.encode();
        for len in 0..key.len() {
            prop_assert!(GroupRecord::decode(&key[..len], value.as_deref()).is_err());
        }
        for len in 0..value.as_ref().map_or(0, Bytes::len) {
            prop_assert!(GroupRecord::decode(&key, value.as_ref().map(|value| &value[..len])).is_err());
        }
    }

    /// What is read from damaged bytes is either refused or exactly what these bytes say.
    #[test]
    fn damaged_records_are_refused_or_mean_themselves(
        record in record(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (key, value) = record.encode();
        let (mut key, mut value) = (key.to_vec(), value.map(|value| value.to_vec()));
        for (at, byte) in damage {
            let bytes = value.as_mut().unwrap_or(&mut key);
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(record) = GroupRecord::decode(&key, value.as_deref()) {
            prop_assert_eq!(record.encode(), (Bytes::from(key), value.map(Bytes::from)));
        }
    }

    #[test]
    fn garbage_never_panics(key in blob(), value in prop::option::of(blob())) {
        let _ = GroupRecord::decode(&key, value.as_deref());
    }
}

#[test]
fn the_bytes_are_those_of_the_tables() {
    let offset = GroupRecord::Offset {
        group: "g".into(),
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionId(3),
        committed: Committed {
            offset: Offset(258),
            leader_epoch: LeaderEpoch(-1),
            metadata: "m".into(),
            committed_at: Timestamp(7),
        },
    };
    let (key, value) = offset.encode();
    assert_eq!(&key[..], b"\x01\0\0\0\x01g\0\0\0\x06orders\0\0\0\x03");
    assert_eq!(&value.unwrap()[..], b"\x01\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\0\0\0\x01m");

    let member = StoredMember {
        member_id: "a-1".into(),
        instance_id: Some("i".into()),
        client_id: "a".into(),
        client_host: "h".into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 1,
        protocols: vec![Protocol { name: "r".into(), metadata: Bytes::from_static(b"MM") }],
        assignment: Bytes::from_static(b"A"),
    };
    let stored = StoredGroup {
        generation: Generation(2),
        protocol_type: "consumer".into(),
        protocol: "r".into(),
        leader: Some("a-1".into()),
        empty_since: None,
        members: vec![member],
    };
    let (key, value) = GroupRecord::Group { group: "g".into(), stored }.encode();
    assert_eq!(&key[..], b"\x02\0\0\0\x01g");
    let header = b"\x01\0\0\0\x02\0\0\0\x08consumer\0\0\0\x01r\x01\0\0\0\x03a-1\0\0\0\0\x01";
    let names = b"\0\0\0\x03a-1\x01\0\0\0\x01i\0\0\0\x01a\0\0\0\x01h\0\0\x17\x70\0\0\0\x01";
    let rest = b"\0\0\0\x01\0\0\0\x01r\0\0\0\x02MM\0\0\0\x01A";
    assert_eq!(value.unwrap(), [&header[..], names, rest].concat());
}

#[test]
fn a_group_whose_parts_do_not_fit_is_refused() {
    let member = |id: &str, instance: Option<&str>| StoredMember {
        member_id: id.into(),
        instance_id: instance.map(InstanceId::from),
        client_id: "c".into(),
        client_host: "h".into(),
        session_timeout_ms: 1,
        rebalance_timeout_ms: 1,
        protocols: vec![Protocol { name: "r".into(), metadata: Bytes::new() }],
        assignment: Bytes::new(),
    };
    let good = StoredGroup {
        generation: Generation(1),
        protocol_type: "consumer".into(),
        protocol: "r".into(),
        leader: Some("a".into()),
        empty_since: None,
        members: vec![member("a", Some("i")), member("b", None)],
    };
    let bad = [
        StoredGroup { leader: Some("c".into()), ..good.clone() },
        StoredGroup { leader: None, ..good.clone() },
        StoredGroup { protocol: "other".into(), ..good.clone() },
        StoredGroup { generation: Generation(-1), ..good.clone() },
        StoredGroup { members: vec![member("b", None), member("a", None)], ..good.clone() },
        StoredGroup { members: vec![member("a", Some("i")), member("b", Some("i"))], ..good.clone() },
    ];
    let decode = |stored: StoredGroup| {
        let (key, value) = GroupRecord::Group { group: "g".into(), stored }.encode();
        GroupRecord::decode(&key, value.as_deref())
    };
    assert!(decode(good).is_ok());
    for stored in bad {
        assert_eq!(decode(stored), Err(GroupRecordError::Contradiction));
    }
}
