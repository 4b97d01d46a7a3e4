use super::*;
use keyway_record::{ErrorCode, PartitionId, TopicId, TopicName};
use proptest::prelude::*;
use std::collections::BTreeMap;

const TIMEOUT_MS: i32 = 1_000;

fn partition(index: i32) -> TopicPartition {
    let topic = TopicName::new("orders").unwrap();
    TopicPartition { topic, topic_id: TopicId([7; 16]), partition: PartitionId(index) }
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

fn empty(epoch: i16) -> Transaction {
    let mut transaction = Transaction::new(ProducerId(7), TIMEOUT_MS, at(0));
    transaction.producer.epoch = ProducerEpoch(epoch);
    transaction
}

fn ongoing(epoch: i16) -> Transaction {
    empty(epoch).add(producer(7, epoch), Part::Partitions(&[partition(0)]), at(1)).unwrap().unwrap()
}

/// Writes all markers.
fn complete(mut transaction: Transaction) -> Transaction {
    transaction.partitions.clear();
    transaction.groups.clear();
    transaction.completed(at(9)).unwrap()
}

fn prepare(end: Result<End, ErrorCode>) -> Transaction {
    match end {
        Ok(End::Prepare(transaction)) => transaction,
        other => panic!("{other:?}"),
    }
}

/// The transaction that `outcome` was decided for with epoch 5, by the rules of `version`, and completed.
fn ended(outcome: Outcome, version: Version) -> Transaction {
    complete(prepare(ongoing(5).end(producer(7, 5), outcome, version, None, at(2))))
}

#[test]
fn v2_moves_the_epoch_on_and_knows_a_repeat_by_it() {
    use ErrorCode::{InvalidTxnState, ProducerFenced};
    use Outcome::{Abort, Commit};
    let (fence, state) = (Err(ProducerFenced), Err(InvalidTxnState));
    // What a request at the epoch before, and one at the current epoch, get: an error, or the epoch after it.
    for (transaction, outcome, before, current) in [
        (empty(6), Abort, fence, Ok(7)),
        (empty(6), Commit, fence, state),
        (ended(Abort, Version::V2), Abort, Ok(6), Ok(7)),
        (ended(Abort, Version::V2), Commit, state, state),
        (ended(Commit, Version::V2), Abort, state, Ok(7)),
        (ended(Commit, Version::V2), Commit, Ok(6), state),
    ] {
        for (epoch, expected) in [(5, before), (6, current)] {
            let answer = transaction.end(producer(7, epoch), outcome, Version::V2, None, at(10));
            let epoch_after = answer.map(|end| match end {
                End::Already(producer) => producer.epoch.0,
                End::Prepare(prepared) => complete(prepared).producer.epoch.0,
            });
            assert_eq!(epoch_after, expected, "{:?} at {epoch} in {:?}", outcome, transaction.state);
        }
        let stranger = transaction.end(producer(8, 6), outcome, Version::V2, None, at(10));
        assert_eq!(stranger, Err(ErrorCode::InvalidProducerIdMapping));
    }
}

#[test]
fn v1_keeps_the_epoch_and_repeats_by_state() {
    use Outcome::{Abort, Commit};
    for (transaction, outcome, expected) in [
        (empty(5), Commit, Err(ErrorCode::InvalidTxnState)),
        (empty(5), Abort, Err(ErrorCode::InvalidTxnState)),
        (ended(Commit, Version::V1), Commit, Ok(())),
        (ended(Commit, Version::V1), Abort, Err(ErrorCode::InvalidTxnState)),
        (ended(Abort, Version::V1), Abort, Ok(())),
        (ended(Abort, Version::V1), Commit, Err(ErrorCode::InvalidTxnState)),
    ] {
        let answer = transaction.end(producer(7, 5), outcome, Version::V1, None, at(10));
        assert_eq!(answer, expected.map(|()| End::Already(producer(7, 5))), "{outcome:?}");
        let old = transaction.end(producer(7, 4), outcome, Version::V1, None, at(10));
        assert_eq!(old, Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn while_markers_are_written_everyone_waits_and_the_outcome_stands() {
    for version in [Version::V1, Version::V2] {
        let mut prepared = prepare(ongoing(5).end(producer(7, 5), Outcome::Commit, version, None, at(2)));
        let marker = prepared.marker().unwrap();
        assert_eq!(marker.outcome, Outcome::Commit);
        assert_eq!(marker.producer, prepared.producer);
        assert_eq!(marker.producer.epoch.0, if version == Version::V1 { 5 } else { 6 });
        let asks = |outcome| prepared.end(producer(7, 5), outcome, version, None, at(3));
        assert_eq!(asks(Outcome::Commit), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(asks(Outcome::Abort), Err(ErrorCode::InvalidTxnState));
        let waits = Err(ErrorCode::ConcurrentTransactions);
        assert_eq!(prepared.add(marker.producer, Part::Partitions(&[partition(1)]), at(3)), waits);
        assert_eq!(
            prepared.verify(marker.producer, Part::Partitions(&[partition(0)])),
            Err(ErrorCode::ConcurrentTransactions)
        );
        assert_eq!(prepared.init(None, 1, None, at(3)), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(prepared.completed(at(3)), None, "a marker is missing");
        prepared.partition_marked(&partition(0));
        let completed = prepared.completed(at(3)).unwrap();
        assert_eq!(completed.state, State::Completed(Outcome::Commit));
        assert_eq!(
            completed.started,
            Some(at(1)),
            "the last transaction's until the next one or another producer"
        );
        let Ok(Init::Begin(begun)) = completed.init(None, 50, None, at(4)) else { panic!() };
        assert_eq!(begun.started, None);
    }
}

#[test]
fn what_was_not_added_may_not_be_written() {
    let transaction = ongoing(5);
    assert_eq!(transaction.verify(producer(7, 5), Part::Partitions(&[partition(0)])), Ok(()));
    assert_eq!(
        transaction.verify(producer(7, 5), Part::Partitions(&[partition(1)])),
        Err(ErrorCode::TransactionAbortable)
    );
    assert_eq!(
        transaction.verify(producer(7, 4), Part::Partitions(&[partition(0)])),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        transaction.verify(producer(8, 5), Part::Partitions(&[partition(0)])),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
    let again = transaction.add(producer(7, 5), Part::Partitions(&[partition(0)]), at(5));
    assert_eq!(again, Ok(None), "nothing has to be stored");
    let group = GroupId::from("g");
    let more = transaction.add(producer(7, 5), Part::Group(&group), at(5)).unwrap().unwrap();
    let more = more.add(producer(7, 5), Part::Partitions(&[partition(2)]), at(5)).unwrap().unwrap();
    assert_eq!((more.partitions.len(), more.groups.len(), more.started), (2, 1, Some(at(1))));
}

#[test]
fn the_next_producer_fences_the_one_before_and_aborts_its_transaction() {
    let Ok(Init::Abort(aborting)) = ongoing(5).init(None, 50, None, at(3)) else { panic!() };
    assert_eq!(aborting.marker().unwrap(), Marker { producer: producer(7, 6), outcome: Outcome::Abort });
    let Ok(Init::Begin(begun)) = complete(aborting).init(None, 50, None, at(4)) else { panic!() };
    assert_eq!((begun.producer, begun.timeout_ms), (producer(7, 7), 50));
    for version in [Version::V1, Version::V2] {
        let late = begun.end(producer(7, 5), Outcome::Commit, version, None, at(5));
        assert_eq!(late, Err(ErrorCode::ProducerFenced));
    }
    assert_eq!(begun.add(producer(7, 5), Part::Partitions(&[]), at(5)), Err(ErrorCode::ProducerFenced));
    assert_eq!(begun.init(Some(producer(7, 5)), 1, None, at(5)), Err(ErrorCode::ProducerFenced));
    assert_eq!(ongoing(5).init(Some(producer(7, 4)), 1, None, at(5)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_producer_that_says_who_it_was_goes_on_and_may_ask_twice() {
    let Ok(Init::Begin(first)) = empty(5).init(Some(producer(7, 5)), 1, None, at(1)) else { panic!() };
    assert_eq!(first.producer, producer(7, 6));
    let Ok(Init::Begin(again)) = first.init(Some(producer(7, 5)), 1, None, at(2)) else { panic!() };
    assert_eq!(again.producer, producer(7, 6), "the same answer");
    // The answer to an end was lost, and the client begins anew instead of asking again.
    let ended = ended(Outcome::Commit, Version::V2);
    let Ok(Init::Begin(begun)) = ended.init(Some(producer(7, 5)), 1, None, at(2)) else { panic!() };
    assert_eq!(begun.producer, producer(7, 6));
}

#[test]
fn used_up_epochs_bring_a_new_producer_id() {
    let last = i16::MAX - 1;
    let transaction = ongoing(last);
    assert!(transaction.is_exhausted());
    let fresh = Some(ProducerId(70));
    let end = transaction.end(producer(7, last), Outcome::Commit, Version::V2, fresh, at(2));
    let prepared = prepare(end);
    assert_eq!(prepared.marker().unwrap().producer, producer(7, i16::MAX));
    let completed = complete(prepared);
    assert_eq!(completed.producer, producer(70, 0));
    let repeated = completed.end(producer(7, last), Outcome::Commit, Version::V2, fresh, at(3));
    assert_eq!(repeated, Ok(End::Already(producer(70, 0))));
    let Ok(Init::Begin(begun)) = empty(last).init(None, 1, fresh, at(2)) else { panic!() };
    assert_eq!(begun.producer, producer(70, 0));
}

#[test]
fn a_transaction_that_lasts_too_long_is_aborted() {
    let transaction = ongoing(5);
    assert!(!transaction.is_timed_out(at(1 + 1_000)) && transaction.is_timed_out(at(2 + 1_000)));
    let aborted = complete(transaction.give_up(None, at(2 + 1_000)));
    assert_eq!((aborted.state, aborted.producer), (State::Completed(Outcome::Abort), producer(7, 6)));
    assert!(!aborted.is_timed_out(at(1 << 40)));
    assert!(!ongoing(5).is_expired(5, at(1 << 40)), "it is in use");
    assert!(aborted.is_expired(5, at(1_007)) && !aborted.is_expired(5, at(1_006)));
}

/// A client, as far as it knows.
#[derive(Clone, Debug)]
struct Client {
    version: Version,
    producer: Option<Producer>,
    /// Its transaction has something in it.
    is_open: bool,
    /// The end whose answer was lost.
    lost: Option<(Producer, Outcome)>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]

    /// Clients of both kinds use one transactional id, lose answers, hang, and come back; the broker forgets all but what
    /// it stored. Only the newest may do anything, an outcome once decided stands, and no producer is given twice.
    #[test]
    fn only_the_newest_producer_is_heard(
        steps in prop::collection::vec((0usize..4, 0u8..9, any::<bool>(), any::<bool>()), 1..120),
        epoch in prop_oneof![Just(0i16), Just(i16::MAX - 4)],
    ) {
        let mut clients: Vec<Client> = (0..4)
            .map(|index| if index % 2 == 0 { Version::V1 } else { Version::V2 })
            .map(|version| Client { version, producer: None, is_open: false, lost: None })
            .collect();
        let mut transaction = empty(epoch);
        let (mut newest, mut next_id, mut now) = (None, 100, 10);
        // Whom each producer was given to, in the order in which they were.
        let mut given: BTreeMap<Producer, usize> = BTreeMap::new();
        for (who, what, commit, is_lost) in steps {
            now += 1;
            let before = transaction.clone();
            let fresh = transaction.is_exhausted().then(|| { next_id += 1; ProducerId(next_id) });
            let client = &mut clients[who];
            let outcome = if commit { Outcome::Commit } else { Outcome::Abort };
            let mut hear = |producer: Producer| {
                assert!(given.get(&producer).is_none_or(|owner| *owner == who), "{producer:?} is given twice");
                given.insert(producer, who);
            };
            match (what, client.producer) {
                (0, _) | (_, None) => {
                    let mut answer = transaction.init(None, TIMEOUT_MS, fresh, at(now));
                    if let Ok(Init::Abort(aborting)) = answer {
                        transaction = complete(aborting);
                        let fresh = transaction.is_exhausted().then(|| { next_id += 1; ProducerId(next_id) });
                        answer = transaction.init(None, TIMEOUT_MS, fresh, at(now));
                    }
                    let Ok(Init::Begin(begun)) = answer else { panic!("{answer:?}") };
                    hear(begun.producer);
                    newest = Some(who);
                    *client = Client { producer: Some(begun.producer), is_open: false, lost: None, ..*client };
                    transaction = begun;
                }
                (1, Some(producer)) if client.lost.is_none() => {
                    let expected = Some(producer);
                    match transaction.init(expected, TIMEOUT_MS, fresh, at(now)) {
                        Ok(Init::Begin(begun)) => {
                            prop_assert_eq!(newest, Some(who));
                            hear(begun.producer);
                            transaction = begun;
                            // Without the answer the client is who it was, and asks again.
                            if !is_lost {
                                client.producer = Some(transaction.producer);
                                client.is_open = false;
                            }
                        }
                        Ok(Init::Abort(aborting)) => {
                            prop_assert_eq!(newest, Some(who));
                            hear(aborting.producer);
                            transaction = complete(aborting);
                            client.is_open = false;
                        }
                        Err(error) => {
                            prop_assert_eq!(error, ErrorCode::ProducerFenced);
                            prop_assert_ne!(newest, Some(who), "{:?} of {:?}", client, transaction);
                        }
                    }
                }
                (2..5, Some(producer)) if client.lost.is_none() => {
                    match transaction.add(producer, Part::Partitions(&[partition(i32::from(what))]), at(now)) {
                        Ok(after) => {
                            prop_assert_eq!(newest, Some(who));
                            prop_assert_eq!(producer, transaction.producer);
                            transaction = after.unwrap_or(transaction);
                            client.is_open = true;
                        }
                        // A lost begin, or an abort that came over the client, is news to it; nobody else is heard.
                        Err(error) => prop_assert!(
                            matches!(error, ErrorCode::ProducerFenced | ErrorCode::InvalidProducerIdMapping)
                        ),
                    }
                }
                (8, _) => {
                    let late = at(now + i64::from(TIMEOUT_MS) * 10);
                    if transaction.is_timed_out(late) {
                        transaction = complete(transaction.give_up(fresh, late));
                        if let Some(owner) = newest { given.insert(transaction.producer, owner); }
                    }
                }
                (_, Some(producer)) => {
                    let (producer, outcome) = client.lost.unwrap_or((producer, outcome));
                    match transaction.end(producer, outcome, client.version, fresh, at(now)) {
                        Ok(End::Prepare(prepared)) => {
                            prop_assert_eq!(newest, Some(who));
                            prop_assert_eq!(prepared.marker().unwrap().outcome, outcome);
                            let stored = Transaction::decode(&prepared.encode()).unwrap();
                            prop_assert_eq!(&stored, &prepared, "a crash here changes nothing");
                            transaction = complete(stored);
                            hear(transaction.producer);
                            client.is_open = false;
                            client.lost = is_lost.then_some((producer, outcome));
                            if !is_lost { client.producer = Some(transaction.producer); }
                        }
                        Ok(End::Already(now_producer)) => {
                            prop_assert_eq!(newest, Some(who), "a stranger hears of an end");
                            prop_assert_eq!(transaction.state, State::Completed(outcome));
                            client.producer = Some(now_producer);
                            client.lost = None;
                            client.is_open = false;
                        }
                        Err(error) => {
                            prop_assert!(matches!(
                                error,
                                ErrorCode::ProducerFenced
                                    | ErrorCode::InvalidProducerIdMapping
                                    | ErrorCode::InvalidTxnState
                            ));
                            client.lost = None;
                        }
                    }
                }
            }
            let key = |t: &Transaction| (t.producer.id, t.producer.epoch);
            prop_assert!(key(&transaction) >= key(&before), "producers only move on");
            prop_assert_eq!(&Transaction::decode(&transaction.encode()).unwrap(), &transaction);
        }
    }
}

/// Histories per run; more with `KEYWAY_SEEDS`.
fn histories() -> u32 {
    std::env::var("KEYWAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2_000)
}

#[test]
fn a_damaged_record_is_refused() {
    let mut transaction = ongoing(5);
    transaction.groups.insert(GroupId::from("g"));
    transaction.previous = Some(producer(7, 4));
    let whole = transaction.encode();
    assert_eq!(Transaction::decode(&whole), Ok(transaction));
    for len in 0..whole.len() {
        assert!(Transaction::decode(&whole[..len]).is_err(), "{len} bytes");
    }
    let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
    assert!(Transaction::decode(&longer).is_err());
    let id = TransactionalId::from("payments");
    assert_eq!(TransactionalId::of_record_key(&id.record_key()), Ok(id.clone()));
    assert!(TransactionalId::of_record_key(&id.record_key()[..5]).is_err());
}
