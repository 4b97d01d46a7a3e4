// Keys, headers, times and every codec of sarama, with every acks and with idempotence; read back as they were.
package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

const (
	topic  = "from-sarama"
	perWay = 300
	keys   = 13
)

var began = time.UnixMilli(1_700_000_000_000)

type way struct {
	name string
	set  func(config *sarama.Config)
}

func ways() []way {
	acks := func(acks sarama.RequiredAcks) func(*sarama.Config) {
		return func(config *sarama.Config) { config.Producer.RequiredAcks = acks }
	}
	codec := func(codec sarama.CompressionCodec) func(*sarama.Config) {
		return func(config *sarama.Config) {
			saramas.Idempotent(config)
			config.Producer.Compression = codec
			config.Producer.Flush.Frequency = 20 * time.Millisecond
		}
	}
	return []way{
		{"acks-0", acks(sarama.NoResponse)},
		{"acks-1", acks(sarama.WaitForLocal)},
		{"acks-all", acks(sarama.WaitForAll)},
		{"none", codec(sarama.CompressionNone)},
		{"gzip", codec(sarama.CompressionGZIP)},
		{"snappy", codec(sarama.CompressionSnappy)},
		{"lz4", codec(sarama.CompressionLZ4)},
		{"zstd", codec(sarama.CompressionZSTD)},
	}
}

func record(way string, number int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic:     topic,
		Key:       sarama.StringEncoder(fmt.Sprintf("%s-%d", way, number%keys)),
		Value:     sarama.StringEncoder(strings.Repeat(fmt.Sprintf("%d ", number), 1+number%50)),
		Headers:   []sarama.RecordHeader{{Key: []byte("way"), Value: []byte(way)}, {Key: []byte("number"), Value: []byte{byte(number), 0, 255}}},
		Timestamp: began.Add(time.Duration(number) * time.Millisecond),
	}
}

// text is a key or a value before it is encoded.
func text(encoder sarama.Encoder) string {
	bytes, err := encoder.Encode()
	scene.Check(err, "encode")
	return string(bytes)
}

func produce(way way, wanted map[string][]*sarama.ProducerMessage) {
	config := saramas.Config()
	way.set(config)
	producer, err := sarama.NewAsyncProducer([]string{scene.Address()}, config)
	scene.Check(err, way.name)
	var done, acknowledged sync.WaitGroup
	acknowledged.Add(perWay)
	done.Go(func() {
		for range producer.Successes() {
			acknowledged.Done()
		}
	})
	done.Go(func() {
		for failed := range producer.Errors() {
			scene.Fail("%s: %v", way.name, failed)
		}
	})
	for number := range perWay {
		sent := record(way.name, number)
		wanted[text(sent.Key)] = append(wanted[text(sent.Key)], sent)
		producer.Input() <- sent
	}
	// sarama 1.61 gives up what it sends again when it is closed, and it does send again when its own start of a
	// connection was too late for the first batch.
	acknowledged.Wait()
	producer.AsyncClose()
	done.Wait()
}

func main() {
	admin := saramas.Admin()
	saramas.CreateTopic(admin, topic, 3)
	wanted := map[string][]*sarama.ProducerMessage{}
	var names []string
	for _, way := range ways() {
		produce(way, wanted)
		names = append(names, way.name)
	}
	// Without acknowledgements the last of those records may be still on their way.
	var all []*sarama.ConsumerMessage
	scene.Until(func() bool {
		all = saramas.ReadAll(topic, sarama.ReadUncommitted)
		return len(all) == perWay*len(names)
	}, func() string { return fmt.Sprintf("%d of %d records", len(all), perWay*len(names)) })
	found := map[string][]*sarama.ConsumerMessage{}
	for _, one := range all {
		found[string(one.Key)] = append(found[string(one.Key)], one)
	}
	for key, sent := range wanted {
		got := found[key]
		scene.Expect(len(got) == len(sent), "%s: %d of %d records", key, len(got), len(sent))
		for place, one := range sent {
			there := got[place]
			scene.Expect(string(there.Value) == text(one.Value), "%s: %q instead of %q", key, there.Value, text(one.Value))
			scene.Expect(len(there.Headers) == len(one.Headers), "%s: %d headers", key, len(there.Headers))
			for which, header := range one.Headers {
				same := string(there.Headers[which].Key) == string(header.Key) && string(there.Headers[which].Value) == string(header.Value)
				scene.Expect(same, "%s: header %v", key, there.Headers[which])
			}
			scene.Expect(there.Timestamp.Equal(one.Timestamp), "%s: from %v", key, there.Timestamp)
			scene.Expect(there.Partition == got[0].Partition, "%s is in two partitions", key)
		}
	}
	byTime(admin, all)
	fmt.Printf("%d records with keys, headers and times, %s, each as it was sent\n", len(all), strings.Join(names, ", "))
}

// byTime asks for the first record of each partition that is not older than a moment.
func byTime(admin sarama.ClusterAdmin, all []*sarama.ConsumerMessage) {
	moment := began.Add(perWay / 2 * time.Millisecond)
	first := map[int32]int64{}
	asked := map[int32]int64{}
	for _, one := range all {
		if _, known := first[one.Partition]; !known && !one.Timestamp.Before(moment) {
			first[one.Partition] = one.Offset
			asked[one.Partition] = moment.UnixMilli()
		}
	}
	scene.Expect(len(first) == 3, "%d partitions have something from %v on", len(first), moment)
	listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: asked}, nil)
	scene.Check(err, "list offsets by time")
	for partition, one := range listed[topic] {
		scene.Expect(one.Err == nil || one.Err == sarama.ErrNoError, "list offsets by time: %v", one.Err)
		scene.Expect(one.Offset == first[partition], "partition %d: from %v on at %d, not %d", partition, moment, one.Offset, first[partition])
	}
}
