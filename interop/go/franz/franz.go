// Package franz is what the franz-go programs share: clients, topics, reading a topic to its end.
package franz

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/scene"
)

// Client knows the broker, and what the options say.
func Client(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(scene.Address())}, options...)...)
	scene.Check(err, "a client")
	return client
}

// CreateTopic makes a topic and waits until it is there.
func CreateTopic(admin *kadm.Client, topic string, partitions int32) {
	_, err := admin.CreateTopic(scene.Within(), partitions, 1, nil, topic)
	scene.Check(err, "create "+topic)
	scene.Until(func() bool {
		listed, err := admin.ListTopics(scene.Within(), topic)
		return err == nil && len(listed[topic].Partitions) == int(partitions)
	}, func() string { return topic + " is not listed" })
}

// Produce writes the records of these numbers and waits until they are acknowledged.
func Produce(client *kgo.Client, topic string, first, last, keys int) {
	records := make([]*kgo.Record, 0, last-first)
	for number := first; number < last; number++ {
		key, value := scene.Numbered(number, keys)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)})
	}
	scene.Check(client.ProduceSync(scene.Within(), records...).FirstErr(), "produce")
}

// Poll is a poll that fails with the errors it comes with.
func Poll(client *kgo.Client) kgo.Fetches {
	fetches := client.PollFetches(scene.Within())
	scene.Check(fetches.Err(), "poll")
	return fetches
}

// ReadAll is everything in a topic up to the ends that it has now.
func ReadAll(admin *kadm.Client, topic string, isolation kgo.IsolationLevel) []*kgo.Record {
	ends, err := admin.ListEndOffsets(scene.Within(), topic)
	scene.Check(err, "list the ends")
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	// Control records count here: a partition may end with one.
	reader := Client(
		kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords(),
	)
	defer reader.Close()
	var records []*kgo.Record
	for len(left) > 0 {
		Poll(reader).EachRecord(func(record *kgo.Record) {
			if !record.Attrs.IsControl() {
				records = append(records, record)
			}
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
		})
	}
	return records
}

// Committed is the sum of a group's offsets in a topic.
func Committed(admin *kadm.Client, group, topic string) int {
	offsets, err := admin.FetchOffsetsForTopics(scene.Within(), group, topic)
	scene.Check(err, "fetch offsets")
	scene.Check(offsets.Error(), "fetch offsets")
	sum := 0
	offsets.Each(func(one kadm.OffsetResponse) { sum += int(max(one.At, 0)) })
	return sum
}

// Names joins what is listed in a message.
func Names(names []string) string {
	return strings.Join(names, ", ")
}
