//! A second broker on the same files finds what the first acknowledged.

use crate::{
    broker::TestBroker,
    client::call,
    requests::{append, batch, create_topic, metadata_of, topic_id, values},
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::{
    InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::OffsetFetchRequestTopic,
};
use keyway_record::{ProducerEpoch, ProducerId};
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::{path::Path, sync::Arc};

/// A broker on the files of this folder.
pub(crate) async fn start(folder: &Path) -> TestBroker {
    let store =
        SegmentStore::open(&World::real(), folder.to_owned(), Options::default()).expect("a folder of ours");
    TestBroker::on(Arc::new(store), Config::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_records_offsets_and_ids_outlive_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let mut producer_ids = Vec::new();
    let mut identity = None;
    for life in 0..3 {
        let broker = start(folder.path()).await;
        let mut client = broker.connect().await;
        if life == 0 {
            create_topic(&mut client, "orders", 2).await;
        }
        let none = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        producer_ids.push(call!(client, InitProducerId, 4, none).producer_id);
        // The first life's producer goes on as if nothing had happened, a retry included.
        let (id, epoch) = (ProducerId(producer_ids[0]), ProducerEpoch(0));
        let value = life.to_string();
        let own = batch(&[&value]).build_for(id, epoch, life);
        assert_eq!(append(&mut client, "orders", 1, &own).await, Ok(i64::from(life)));
        assert_eq!(append(&mut client, "orders", 1, &own).await, Ok(i64::from(life)), "a retry");
        if life > 0 {
            let before = batch(&[&(life - 1).to_string()]).build_for(id, epoch, life - 1);
            assert_eq!(
                append(&mut client, "orders", 1, &before).await,
                Ok(i64::from(life) - 1),
                "a retry of the last life"
            );
        }

        let fetch = OffsetFetchRequest {
            group_id: "workers".to_owned(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: "orders".to_owned(),
                partition_indexes: vec![1],
            }]),
            ..Default::default()
        };
        let fetched = call!(client, OffsetFetch, 7, fetch);
        assert_eq!(fetched.topics[0].partitions[0].committed_offset, i64::from(life) - 1, "life {life}");
        let commit = OffsetCommitRequest {
            group_id: "workers".to_owned(),
            topics: vec![OffsetCommitRequestTopic {
                name: "orders".to_owned(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 1,
                    committed_offset: life.into(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(call!(client, OffsetCommit, 8, commit).topics[0].partitions[0].error_code, 0);

        let cluster_id = call!(client, Metadata, 9, metadata_of("orders")).cluster_id;
        let now = (topic_id(&mut client, "orders").await, cluster_id);
        assert_eq!(identity.get_or_insert_with(|| now.clone()), &now, "life {life}");
        drop(client);
        broker.shutdown().await;
    }
    let mut distinct = producer_ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), producer_ids.len(), "no id twice: {producer_ids:?}");
    let broker = start(folder.path()).await;
    assert_eq!(values(&mut broker.connect().await, "orders", 1, 0).await, ["0", "1", "2"]);
    broker.shutdown().await;
}
