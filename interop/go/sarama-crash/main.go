// sarama-crash TOPIC NAME: an idempotent producer of numbered records of one key until its input closes; it prints each
// one when it is acknowledged. The broker may die at any time.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

func main() {
	topic, name := os.Args[1], os.Args[2]
	stopped, told := scene.Stopped(), scene.NewAcknowledgements()
	config := saramas.Idempotent(saramas.Config())
	config.Metadata.AllowAutoTopicCreation = true
	// By default it gives a record up after three attempts within 300 ms, which is sooner than a broker comes back.
	config.Producer.Retry.Max = 300
	config.Metadata.Retry.Max = 300
	config.ChannelBufferSize = 64
	producer, err := sarama.NewAsyncProducer([]string{scene.Address()}, config)
	scene.Check(err, "a producer")
	var done, acknowledged sync.WaitGroup
	done.Go(func() {
		for message := range producer.Successes() {
			told.Tell(message.Metadata.(string), message.Partition, message.Offset)
			acknowledged.Done()
		}
	})
	done.Go(func() {
		for failed := range producer.Errors() {
			scene.Fail("produce: %v", failed)
		}
	})
	for number := 0; !stopped.Load(); number++ {
		value := fmt.Sprintf("%s:%d", name, number)
		acknowledged.Add(1)
		producer.Input() <- &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(name), Value: sarama.StringEncoder(value), Metadata: value}
		time.Sleep(100 * time.Microsecond)
	}
	// sarama gives up what it is sending again when it is closed.
	acknowledged.Wait()
	producer.AsyncClose()
	done.Wait()
}
