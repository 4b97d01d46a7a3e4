// franz-crash TOPIC NAME: an idempotent producer of numbered records of one key until its input closes; it prints each
// one when it is acknowledged. The broker may die at any time; the client retries as it does by default.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

func main() {
	topic, name := os.Args[1], os.Args[2]
	stopped, told := scene.Stopped(), scene.NewAcknowledgements()
	producer := franz.Client(
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerLinger(time.Millisecond),
		kgo.MaxBufferedRecords(500),
		// Without this a client waits longer than a broker needs to come back.
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	for number := 0; !stopped.Load(); number++ {
		record := &kgo.Record{Topic: topic, Key: []byte(name), Value: fmt.Appendf(nil, "%s:%d", name, number)}
		producer.Produce(context.Background(), record, func(record *kgo.Record, err error) {
			scene.Check(err, "produce")
			told.Tell(string(record.Value), record.Partition, record.Offset)
		})
		time.Sleep(100 * time.Microsecond)
	}
	scene.Check(producer.Flush(scene.Within()), "flush")
	producer.Close()
}
