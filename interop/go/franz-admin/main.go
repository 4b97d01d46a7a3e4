// The administration of franz-go's kadm: topics, configs, records, offsets, groups, log folders, the cluster, features.
package main

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	topic = "franz-made"
	group = "franz-idle"
)

func main() {
	client := franz.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	admin := kadm.NewClient(client)
	node := cluster(admin)
	topics(admin)
	configs(admin, node)
	records(admin, client)
	groups(admin)
	_, err := admin.DeleteTopic(scene.Within(), topic)
	scene.Check(err, "delete the topic")
	_, err = admin.DeleteTopic(scene.Within(), topic)
	refused(err, kerr.UnknownTopicOrPartition, "deleting a topic twice")
	// The client may answer from what it has known for less than a second.
	scene.Until(func() bool {
		listed, err := admin.ListTopics(scene.Within())
		return err == nil && !listed.Has(topic)
	}, func() string { return "the deleted topic is listed" })
	fmt.Println("topics, configs, records, offsets, groups, log folders and the cluster made, described, changed and deleted")
}

func refused(err, reason error, attempt string) {
	scene.Expect(errors.Is(err, reason), "%s is refused with %v", attempt, err)
}

// cluster asks for what there is before anything was made, and returns the one broker.
func cluster(admin *kadm.Client) int32 {
	metadata, err := admin.BrokerMetadata(scene.Within())
	scene.Check(err, "describe the cluster")
	scene.Expect(len(metadata.Brokers) == 1 && metadata.Controller == metadata.Brokers[0].NodeID && metadata.Cluster != "", "the cluster is %+v", metadata)
	versions, err := admin.ApiVersions(scene.Within())
	scene.Check(err, "api versions")
	scene.Expect(len(versions) == 1, "%d brokers have versions", len(versions))
	for _, one := range versions {
		scene.Check(one.Err, "api versions")
		newest, known := one.KeyMaxVersion(0)
		scene.Expect(known && newest == 13, "the newest Produce is %d", newest)
	}
	return metadata.Brokers[0].NodeID
}

func topics(admin *kadm.Client) {
	retention := "3600000"
	settings := map[string]*string{"retention.ms": &retention}
	dry, err := admin.ValidateCreateTopics(scene.Within(), 2, 1, settings, topic)
	scene.Check(err, "create for show")
	scene.Check(dry[topic].Err, "create for show")
	listed, err := admin.ListTopics(scene.Within())
	scene.Check(err, "list topics")
	scene.Expect(!listed.Has(topic), "a dry run has made the topic")

	made, err := admin.CreateTopic(scene.Within(), 2, 1, settings, topic)
	scene.Check(err, "create")
	scene.Expect(made.NumPartitions == 2 && made.ReplicationFactor == 1, "created with %+v", made)
	set := made.Configs["retention.ms"]
	scene.Expect(set.MaybeValue() == retention, "created with %v", set)
	_, err = admin.CreateTopic(scene.Within(), 2, 1, nil, topic)
	refused(err, kerr.TopicAlreadyExists, "creating a topic twice")
	_, err = admin.CreateTopic(scene.Within(), 2, 1, nil, "no such/name")
	refused(err, kerr.InvalidTopicException, "a bad name")
	_, err = admin.CreateTopic(scene.Within(), 0, 1, nil, "franz-empty")
	refused(err, kerr.InvalidPartitions, "a topic without partitions")

	grown, err := admin.CreatePartitions(scene.Within(), 2, topic)
	scene.Check(err, "grow")
	scene.Check(grown[topic].Err, "grow")
	scene.Until(func() bool {
		listed, err = admin.ListTopics(scene.Within(), topic)
		return err == nil && len(listed[topic].Partitions) == 4
	}, func() string { return fmt.Sprintf("listed as %+v", listed) })
	scene.Expect(listed[topic].ID == made.ID, "its id is %v, and was %v", listed[topic].ID, made.ID)
	fewer, err := admin.UpdatePartitions(scene.Within(), 3, topic)
	scene.Check(err, "shrink")
	refused(fewer[topic].Err, kerr.InvalidPartitions, "taking partitions away")
}

func configs(admin *kadm.Client, node int32) {
	described := func() map[string]kadm.Config {
		all, err := admin.DescribeTopicConfigs(scene.Within(), topic)
		scene.Check(err, "describe configs")
		one, err := all.On(topic, nil)
		scene.Check(err, "describe configs")
		scene.Check(one.Err, "describe configs")
		byKey := map[string]kadm.Config{}
		for _, config := range one.Configs {
			byKey[config.Key] = config
		}
		return byKey
	}
	alter := func(key, value string, operation kadm.IncrementalOp) error {
		altered, err := admin.AlterTopicConfigs(scene.Within(), []kadm.AlterConfig{{Op: operation, Name: key, Value: &value}}, topic)
		scene.Check(err, "alter configs")
		return altered[0].Err
	}
	value := func(key string) string {
		config := described()[key]
		return config.MaybeValue()
	}
	// Kafka answers before everyone has heard of the change.
	becomes := func(key, wanted string) {
		scene.Until(func() bool { return value(key) == wanted }, func() string { return key + " is " + value(key) })
	}
	before := described()
	scene.Expect(before["retention.ms"].Source.String() == "DYNAMIC_TOPIC_CONFIG", "retention.ms comes from %v", before["retention.ms"].Source)
	scene.Expect(before["cleanup.policy"].Source.String() == "DEFAULT_CONFIG", "cleanup.policy comes from %v", before["cleanup.policy"].Source)
	scene.Check(alter("cleanup.policy", "compact", kadm.AppendConfig), "append")
	becomes("cleanup.policy", "delete,compact")
	scene.Check(alter("cleanup.policy", "delete", kadm.SubtractConfig), "subtract")
	becomes("cleanup.policy", "compact")
	scene.Check(alter("max.message.bytes", "2000000", kadm.SetConfig), "set")
	becomes("max.message.bytes", "2000000")
	scene.Check(alter("cleanup.policy", "", kadm.DeleteConfig), "delete")
	becomes("cleanup.policy", "delete")
	refused(alter("retention.ms", "soon", kadm.SetConfig), kerr.InvalidConfig, "a bad value")
	refused(alter("no.such.config", "1", kadm.SetConfig), kerr.InvalidConfig, "an unknown config")

	// The older call sets all of them: what it does not name is back at its default.
	hour := "7200000"
	state, err := admin.AlterTopicConfigsState(scene.Within(), []kadm.AlterConfig{{Name: "retention.ms", Value: &hour}}, topic)
	scene.Check(err, "alter configs")
	scene.Check(state[0].Err, "alter configs")
	becomes("retention.ms", hour)
	becomes("max.message.bytes", "1048588")
	brokers, err := admin.DescribeBrokerConfigs(scene.Within(), node)
	scene.Check(err, "describe the broker's configs")
	scene.Check(brokers[0].Err, "describe the broker's configs")
	scene.Expect(len(brokers[0].Configs) > 20, "the broker has %d configs", len(brokers[0].Configs))
}
