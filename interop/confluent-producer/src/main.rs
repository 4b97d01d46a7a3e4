//! `confluent-producer BOOTSTRAP TOPIC RECORDS KEYS`: produces `RECORDS` records with the keys `key-0` ..,
//! idempotent and acks=all as the client's defaults have it, and checks what comes back: one acknowledgement
//! per record, every key in one partition, offsets rising per key.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use confluent_kafka::common::serialization::StringSerializer;
use confluent_kafka::producer::{KafkaProducer, Producer, ProducerConfig, ProducerRecord};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, records, keys] = args.as_slice() else {
        return Err("usage: confluent-producer BOOTSTRAP TOPIC RECORDS KEYS".into());
    };
    let (records, keys): (u64, u64) = (records.parse()?, keys.parse()?);

    let settings = HashMap::from([("bootstrap.servers".to_string(), bootstrap.clone())]);
    let config = ProducerConfig::new(&settings)?;
    let producer = KafkaProducer::new(config, StringSerializer::default(), StringSerializer::default())?;

    let mut acknowledgements = Vec::new();
    for number in 0..records {
        let key = format!("key-{}", number % keys);
        let record = ProducerRecord::with_key(topic.clone(), Some(key.clone()), Some(format!("value-{number}")));
        acknowledgements.push((key, Producer::send(&producer, record).await?));
    }
    producer.flush().await?;

    let mut last = BTreeMap::<String, (i32, i64)>::new();
    for (key, acknowledgement) in acknowledgements {
        let metadata = acknowledgement.get().await?;
        let (partition, offset) = (metadata.partition(), metadata.offset());
        if let Some((before_partition, before_offset)) = last.insert(key.clone(), (partition, offset)) {
            if before_partition != partition || before_offset >= offset {
                return Err(format!(
                    "{key}: {before_partition}/{before_offset} was followed by {partition}/{offset}"
                )
                .into());
            }
        }
    }
    producer.close().await?;
    println!("{records} records of {} keys acknowledged", last.len());
    Ok(())
}
