// Keys, headers, times and every codec of franz-go, with every acks and with idempotence; read back as they were.
package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	topic  = "from-franz-go"
	perWay = 300
	keys   = 13
)

var began = time.UnixMilli(1_700_000_000_000)

type way struct {
	name    string
	options []kgo.Opt
}

func ways() []way {
	plain := func(acks kgo.Acks) []kgo.Opt {
		return []kgo.Opt{kgo.DisableIdempotentWrite(), kgo.RequiredAcks(acks)}
	}
	codec := func(codec kgo.CompressionCodec) []kgo.Opt {
		return []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20 * time.Millisecond)}
	}
	return []way{
		{"acks-0", plain(kgo.NoAck())},
		{"acks-1", plain(kgo.LeaderAck())},
		{"acks-all", plain(kgo.AllISRAcks())},
		{"none", codec(kgo.NoCompression())},
		{"gzip", codec(kgo.GzipCompression())},
		{"snappy", codec(kgo.SnappyCompression())},
		{"lz4", codec(kgo.Lz4Compression())},
		{"zstd", codec(kgo.ZstdCompression())},
		{"streaming-zstd", append(codec(kgo.ZstdCompression()), kgo.StreamingCompression())},
	}
}

func record(way string, number int) *kgo.Record {
	return &kgo.Record{
		Topic:     topic,
		Key:       fmt.Appendf(nil, "%s-%d", way, number%keys),
		Value:     []byte(strings.Repeat(fmt.Sprintf("%d ", number), number%50)),
		Headers:   []kgo.RecordHeader{{Key: "way", Value: []byte(way)}, {Key: "number", Value: []byte{byte(number), 0, 255}}, {Key: "null"}},
		Timestamp: began.Add(time.Duration(number) * time.Millisecond),
	}
}

func main() {
	admin := kadm.NewClient(franz.Client())
	franz.CreateTopic(admin, topic, 3)
	wanted := map[string][]*kgo.Record{}
	var names []string
	for _, way := range ways() {
		producer := franz.Client(way.options...)
		names = append(names, way.name)
		for number := range perWay {
			sent := record(way.name, number)
			wanted[string(sent.Key)] = append(wanted[string(sent.Key)], sent)
			producer.Produce(scene.Within(), sent, func(_ *kgo.Record, err error) { scene.Check(err, way.name) })
		}
		scene.Check(producer.Flush(scene.Within()), way.name)
		producer.Close()
	}

	// Without acknowledgements the last of those records may be still on their way.
	var all []*kgo.Record
	scene.Until(func() bool {
		all = franz.ReadAll(admin, topic, kgo.ReadUncommitted())
		return len(all) == perWay*len(names)
	}, func() string { return fmt.Sprintf("%d of %d records", len(all), perWay*len(names)) })
	found := map[string][]*kgo.Record{}
	for _, one := range all {
		found[string(one.Key)] = append(found[string(one.Key)], one)
	}
	for key, sent := range wanted {
		got := found[key]
		scene.Expect(len(got) == len(sent), "%s: %d of %d records", key, len(got), len(sent))
		for place, one := range sent {
			there := got[place]
			scene.Expect(string(there.Value) == string(one.Value), "%s: %q instead of %q", key, there.Value, one.Value)
			same := func(a, b kgo.RecordHeader) bool {
				return a.Key == b.Key && string(a.Value) == string(b.Value) && (a.Value == nil) == (b.Value == nil)
			}
			scene.Expect(slices.EqualFunc(there.Headers, one.Headers, same), "%s: headers %v", key, there.Headers)
			scene.Expect(there.Timestamp.Equal(one.Timestamp), "%s: from %v", key, there.Timestamp)
			scene.Expect(there.Partition == got[0].Partition, "%s is in two partitions", key)
		}
	}
	byTime(admin, all)
	fmt.Printf("%d records with keys, headers and times, %s, each as it was sent\n", len(all), franz.Names(names))
}

// byTime asks for the first record of each partition that is not older than a moment.
func byTime(admin *kadm.Client, all []*kgo.Record) {
	moment := began.Add(perWay / 2 * time.Millisecond)
	listed, err := admin.ListOffsetsAfterMilli(scene.Within(), moment.UnixMilli(), topic)
	scene.Check(err, "list offsets by time")
	listed.Each(func(one kadm.ListedOffset) {
		scene.Check(one.Err, "list offsets by time")
		for _, record := range all {
			if record.Partition == one.Partition && !record.Timestamp.Before(moment) {
				scene.Expect(record.Offset == one.Offset, "partition %d: from %v on at %d, not %d", one.Partition, moment, one.Offset, record.Offset)
				return
			}
		}
	})
}
