use super::*;
use proptest::prelude::*;

fn ranges() -> impl Strategy<Value = Vec<Range<i64>>> {
    let run = (prop_oneof![1i64..4, 1i64..5_000], prop_oneof![1i64..4, 1i64..5_000]);
    prop::collection::vec(run, 0..60).prop_map(|runs| {
        let mut at = 0;
        let mut next = |(hole, done)| {
            let start = at + hole;
            at = start + done;
            start..at
        };
        runs.into_iter().map(&mut next).collect()
    })
}

fn retry() -> impl Strategy<Value = (i64, u16, u16, u64, Option<String>)> {
    (1i64..1_000, any::<u16>(), any::<u16>(), any::<u64>(), prop::option::of(".{0,20}"))
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let pattern = prop::collection::vec(any::<u8>(), 0..12);
    let declaration = (prop::collection::vec(pattern, 0..4), prop::option::of(1u64..u64::MAX));
    let declaration =
        declaration.prop_map(|(patterns, until)| Declaration { patterns, until: until.map(Millis) });
    let cursor = prop_oneof![Just(0), 0i64..1 << 40];
    let retries = prop::collection::vec(retry(), 0..20);
    (1u32..1 << 24, cursor, ranges(), retries, prop::collection::vec(declaration, 0..4)).prop_map(
        |(epoch, cursor, done, retries, declarations)| {
            let mut at = cursor - 1;
            let retries = retries.into_iter().map(|(step, attempts, failures, retry_at, reason)| {
                at += step;
                let cause = [Cause::Nack, Cause::AckTimeout, Cause::Disconnect][step as usize % 3];
                Retry { offset: Offset(at), attempts, failures, retry_at: Millis(retry_at), cause, reason }
            });
            Snapshot {
                epoch: OwnerEpoch::new(epoch).unwrap(),
                cursor: Offset(cursor),
                done: done.into_iter().map(|range| range.start + cursor..range.end + cursor).collect(),
                retries: retries.collect(),
                declarations,
                parked: (0..epoch % 4).map(|key| (KeyHash(u128::from(key) << 90), key % 2 == 1)).collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn every_snapshot_comes_back(snapshot in any_snapshot()) {
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn damage_is_noticed(snapshot in any_snapshot(), at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let bytes = snapshot.encode();
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(Snapshot::decode(&flipped).is_err());
        prop_assert!(Snapshot::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    /// Wrong content under a right checksum is refused or harmless, and never a panic.
    #[test]
    fn wrong_content_never_panics(snapshot in any_snapshot(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = snapshot.encode();
        bytes.truncate(bytes.len() - 4);
        for (at, value) in edits {
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] = value;
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        if let Ok(decoded) = Snapshot::decode(&bytes) {
            prop_assert!(decoded.done.iter().all(|range| range.start < range.end && range.start >= decoded.cursor.0));
            prop_assert_eq!(Snapshot::decode(&decoded.encode()), Ok(decoded));
        }
    }
}

#[test]
fn another_version_is_named() {
    let snapshot = Snapshot {
        epoch: OwnerEpoch::FIRST,
        cursor: Offset(5),
        done: vec![],
        retries: vec![],
        declarations: vec![],
        parked: vec![],
    };
    let mut bytes = snapshot.encode();
    bytes[3] = 9;
    assert_eq!(Snapshot::decode(&bytes), Err(SnapshotError::Version { version: 9 }));
    assert_eq!(Snapshot::decode(b"KW"), Err(SnapshotError::Magic));
}

/// The sizes that decided for Rice: 10,000 holes in 100,000 offsets take about 5,950 bytes.
#[test]
fn scattered_holes_take_five_bits_each() {
    let mut random = 1u64;
    let mut done: Vec<Range<i64>> = Vec::new();
    let mut holes = 0;
    for offset in 0..100_000 {
        random = crate::placement::mix(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        if random.is_multiple_of(10) {
            holes += 1;
        } else if let Some(range) = done.last_mut().filter(|range| range.end == offset) {
            range.end += 1;
        } else {
            done.push(offset..offset + 1);
        }
    }
    let mut out = Vec::new();
    holes::encode(0, &done, &mut out);
    assert!(out.len() * 8 < holes * 5, "{} bytes for {holes} holes", out.len());
}
