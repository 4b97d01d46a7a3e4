// Package saramas is what the sarama programs share: a configuration, topics, producing, reading a topic to its end.
package saramas

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/scene"
)

// The value of the record behind which a reader stops.
const end = "the end"

// Config speaks the newest version of everything, waits for all acknowledgements, and begins at the beginning.
func Config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Return.Errors = true
	config.Metadata.RefreshFrequency = time.Second
	config.Metadata.AllowAutoTopicCreation = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	return config
}

// Idempotent makes a producer's retries safe.
func Idempotent(config *sarama.Config) *sarama.Config {
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	return config
}

// Admin is a client for administration.
func Admin() sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin([]string{scene.Address()}, Config())
	scene.Check(err, "a client for administration")
	return admin
}

// CreateTopic makes a topic and waits until it is there.
func CreateTopic(admin sarama.ClusterAdmin, topic string, partitions int32) {
	err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
	scene.Check(err, "create "+topic)
	scene.Until(func() bool {
		listed, err := admin.ListTopics()
		return err == nil && listed[topic].NumPartitions == partitions
	}, func() string { return topic + " is not listed" })
}

// Producer waits for each acknowledgement.
func Producer(config *sarama.Config) sarama.SyncProducer {
	producer, err := sarama.NewSyncProducer([]string{scene.Address()}, config)
	scene.Check(err, "a producer")
	return producer
}

// Produce writes the records of these numbers and waits until they are acknowledged.
func Produce(producer sarama.SyncProducer, topic string, first, last, keys int) {
	var messages []*sarama.ProducerMessage
	for number := first; number < last; number++ {
		key, value := scene.Numbered(number, keys)
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(value)})
	}
	scene.Check(producer.SendMessages(messages), "produce")
}

// ReadAll is everything in a topic, partition after partition; it leaves a record in each, behind which it stops.
func ReadAll(topic string, isolation sarama.IsolationLevel) []*sarama.ConsumerMessage {
	config := Config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.IsolationLevel = isolation
	client, err := sarama.NewClient([]string{scene.Address()}, config)
	scene.Check(err, "a client")
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	scene.Check(err, "a producer")
	defer producer.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	scene.Check(err, "a consumer")
	defer consumer.Close()
	partitions, err := consumer.Partitions(topic)
	scene.Check(err, "partitions")
	var messages []*sarama.ConsumerMessage
	for _, partition := range partitions {
		last := &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(end)}
		_, offset, err := producer.SendMessage(last)
		scene.Check(err, "produce")
		messages = append(messages, read(consumer, topic, partition, offset)...)
	}
	return messages
}

// read is everything of a partition before this offset, but for what other readers have left.
func read(consumer sarama.Consumer, topic string, partition int32, stop int64) []*sarama.ConsumerMessage {
	from, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	scene.Check(err, "consume")
	defer from.Close()
	late := time.After(scene.Limit)
	var messages []*sarama.ConsumerMessage
	for {
		select {
		case message := <-from.Messages():
			if message.Offset >= stop {
				return messages
			}
			if string(message.Value) != end {
				messages = append(messages, message)
			}
		case err := <-from.Errors():
			scene.Fail("read %s: %v", topic, err)
		case <-late:
			scene.Fail("read %s: partition %d has shown %d records, and not that at %d", topic, partition, len(messages), stop)
		}
	}
}

// Committed is the sum of a group's offsets in a topic.
func Committed(admin sarama.ClusterAdmin, group, topic string) int {
	offsets, err := admin.ListConsumerGroupOffsets(group, nil)
	scene.Check(err, "fetch offsets")
	sum := 0
	for partition, block := range offsets.Blocks[topic] {
		scene.Expect(block.Err == sarama.ErrNoError, "offset of %d: %v", partition, block.Err)
		sum += int(max(block.Offset, 0))
	}
	return sum
}

// Place names a partition.
func Place(topic string, partition int32) string {
	return fmt.Sprintf("%s/%d", topic, partition)
}
