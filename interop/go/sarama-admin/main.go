// The administration of sarama: topics, configs, records, offsets, groups, log folders, the cluster.
package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

const (
	topic = "sarama-made"
	group = "sarama-idle"
)

func main() {
	admin := saramas.Admin()
	brokers, controller, err := admin.DescribeCluster()
	scene.Check(err, "describe the cluster")
	scene.Expect(len(brokers) == 1 && controller == brokers[0].ID(), "%d brokers, controller %d", len(brokers), controller)
	topics(admin)
	configs(admin)
	records(admin, controller)
	groups(admin)
	scene.Check(admin.DeleteTopic(topic), "delete the topic")
	refused(admin.DeleteTopic(topic), sarama.ErrUnknownTopicOrPartition, "deleting a topic twice")
	listed, err := admin.ListTopics()
	scene.Check(err, "list topics")
	_, there := listed[topic]
	scene.Expect(!there, "the deleted topic is listed")
	fmt.Println("topics, configs, records, offsets, groups, log folders and the cluster made, described, changed and deleted")
}

func refused(err, reason error, attempt string) {
	scene.Expect(errors.Is(err, reason), "%s is refused with %v", attempt, err)
}

func topics(admin sarama.ClusterAdmin) {
	retention := "3600000"
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	scene.Check(admin.CreateTopic(topic, detail, true), "create for show")
	listed, err := admin.ListTopics()
	scene.Check(err, "list topics")
	_, there := listed[topic]
	scene.Expect(!there, "a dry run has made the topic")
	scene.Check(admin.CreateTopic(topic, detail, false), "create")
	refused(admin.CreateTopic(topic, detail, false), sarama.ErrTopicAlreadyExists, "creating a topic twice")
	refused(admin.CreateTopic("no such/name", detail, false), sarama.ErrInvalidTopic, "a bad name")
	scene.Check(admin.CreatePartitions(topic, 4, nil, false), "grow")
	refused(admin.CreatePartitions(topic, 3, nil, false), sarama.ErrInvalidPartitions, "taking partitions away")
	scene.Until(func() bool {
		described, err := admin.DescribeTopics([]string{topic})
		return err == nil && len(described[0].Partitions) == 4
	}, func() string { return "not four partitions" })
	listed, err = admin.ListTopics()
	scene.Check(err, "list topics")
	set := listed[topic].ConfigEntries["retention.ms"]
	scene.Expect(set != nil && *set == retention, "listed with %v", listed[topic].ConfigEntries)
}

func configs(admin sarama.ClusterAdmin) {
	value := func(name string) string {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name}})
		scene.Check(err, "describe configs")
		scene.Expect(len(entries) == 1 && entries[0].Name == name, "described %+v instead of %s", entries, name)
		return entries[0].Value
	}
	// Kafka answers before everyone has heard of the change.
	becomes := func(name, wanted string) {
		scene.Until(func() bool { return value(name) == wanted }, func() string { return name + " is " + value(name) })
	}
	alter := func(name, value string, operation sarama.IncrementalAlterConfigsOperation) error {
		entry := sarama.IncrementalAlterConfigsEntry{Operation: operation, Value: &value}
		return admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{name: entry}, false)
	}
	scene.Check(alter("cleanup.policy", "compact", sarama.IncrementalAlterConfigsOperationAppend), "append")
	becomes("cleanup.policy", "delete,compact")
	scene.Check(alter("cleanup.policy", "", sarama.IncrementalAlterConfigsOperationDelete), "delete")
	becomes("cleanup.policy", "delete")
	refused(alter("retention.ms", "soon", sarama.IncrementalAlterConfigsOperationSet), sarama.ErrInvalidConfig, "a bad value")

	// The older call sets all of them: what it does not name is back at its default.
	bytes := "2000000"
	scene.Check(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"max.message.bytes": &bytes}, false), "alter configs")
	becomes("max.message.bytes", bytes)
	becomes("retention.ms", "604800000")
}

// records: ten in partition 0, twenty in 1 and so on; some are deleted, and the folders tell how much is stored.
func records(admin sarama.ClusterAdmin, broker int32) {
	config := saramas.Config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer := saramas.Producer(config)
	for partition := range int32(4) {
		for range 10 * (partition + 1) {
			message := &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder("twenty bytes of text")}
			_, _, err := producer.SendMessage(message)
			scene.Check(err, "produce")
		}
	}
	scene.Check(producer.Close(), "close")
	scene.Expect(offsets(admin, sarama.OffsetNewest) == "[10 20 30 40]", "the ends are %s", offsets(admin, sarama.OffsetNewest))
	scene.Check(admin.DeleteRecords(topic, map[int32]int64{1: 5, 2: -1}), "delete records")
	scene.Expect(offsets(admin, sarama.OffsetOldest) == "[0 5 30 0]", "the beginnings are %s", offsets(admin, sarama.OffsetOldest))
	err := admin.DeleteRecords(topic, map[int32]int64{0: 11})
	scene.Expect(err != nil, "records beyond the end were deleted")

	folders, err := admin.DescribeLogDirs([]int32{broker})
	scene.Check(err, "describe log folders")
	size := int64(0)
	for _, folder := range folders[broker] {
		for _, one := range folder.Topics {
			for _, partition := range one.Partitions {
				if one.Topic == topic && partition.PartitionID == 3 {
					size += partition.Size
				}
			}
		}
	}
	scene.Expect(size >= 40*20, "partition 3 has %d bytes", size)
}

// offsets is what the partitions answer at this time.
func offsets(admin sarama.ClusterAdmin, time int64) string {
	listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: time, 1: time, 2: time, 3: time}}, nil)
	scene.Check(err, "list offsets")
	found := make([]int64, len(listed[topic]))
	for partition, one := range listed[topic] {
		scene.Expect(one.Err == nil || one.Err == sarama.ErrNoError, "list offsets: %v", one.Err)
		found[partition] = one.Offset
	}
	return fmt.Sprint(found)
}

// groups: offsets committed by the administrator, deleted one by one and with the group.
func groups(admin sarama.ClusterAdmin) {
	committed := map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 7, Metadata: "by hand"}, 3: {Offset: 11}}}
	// sarama leaves it to its caller to try again while a broker is still loading its offsets.
	scene.Until(func() bool {
		altered, err := admin.AlterConsumerGroupOffsets(group, committed, nil)
		scene.Check(err, "commit")
		for partition, failed := range altered.Errors[topic] {
			loading := failed == sarama.ErrOffsetsLoadInProgress || failed == sarama.ErrNotCoordinatorForConsumer
			scene.Expect(loading || failed == sarama.ErrNoError, "commit %d: %v", partition, failed)
			if loading {
				return false
			}
		}
		return true
	}, func() string { return "offsets are still loading" })
	fetched, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1}})
	scene.Check(err, "fetch offsets")
	first, second := fetched.GetBlock(topic, 0), fetched.GetBlock(topic, 1)
	scene.Expect(first.Offset == 7 && first.Metadata == "by hand" && second.Offset == -1, "fetched %+v and %+v", first, second)
	batch, err := admin.ListConsumerGroupOffsetsBatch(map[string]map[string][]int32{group: nil, "nobody": nil})
	scene.Check(err, "fetch offsets of many")
	scene.Expect(len(batch) == 2 && len(batch[group].Blocks[topic]) == 2 && len(batch["nobody"].Blocks) == 0, "fetched %+v", batch)

	listed, err := admin.ListConsumerGroups()
	scene.Check(err, "list groups")
	_, there := listed[group]
	scene.Expect(there, "listed are %v", listed)
	described, err := admin.DescribeConsumerGroups([]string{group})
	scene.Check(err, "describe groups")
	scene.Expect(described[0].State == "Empty", "the group is %s", described[0].State)
	scene.Check(admin.DeleteConsumerGroupOffset(group, topic, 3), "delete an offset")
	scene.Expect(saramas.Committed(admin, group, topic) == 7, "left is %d", saramas.Committed(admin, group, topic))
	scene.Check(admin.DeleteConsumerGroup(group), "delete the group")
	refused(admin.DeleteConsumerGroup(group), sarama.ErrGroupIDNotFound, "deleting a group twice")
	left, err := admin.ListConsumerGroups()
	scene.Check(err, "list groups")
	names := []string{}
	for name := range left {
		names = append(names, name)
	}
	scene.Expect(!slices.Contains(names, group), "the deleted group is listed")
}
