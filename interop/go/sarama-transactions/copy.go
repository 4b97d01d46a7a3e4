package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

const (
	source, sink, group = "sarama-in", "sarama-out", "sarama-copiers"
	partitions          = 4
	keys                = 20
	records             = 300
	// At most so many records go into a transaction.
	atOnce = 10
)

// work is what the copiers have done together.
type work struct {
	copied, commits, aborts atomic.Int64
	lock                    sync.Mutex
	random                  *rand.Rand
}

func (work *work) commit() bool {
	work.lock.Lock()
	defer work.lock.Unlock()
	return work.random.IntN(10) < 6
}

// copier is one member of the group; each partition has a transactional id of its own, which moves with it.
type copier struct {
	work         *work
	held, copied atomic.Int64
	// Whether it goes with its transactions open.
	abandons bool
	group    sarama.ConsumerGroup
	done     sync.WaitGroup
	stop     context.CancelFunc
}

// copyOnce: two members of a group copy with random aborts, one of them is replaced half-way with transactions open.
func copyOnce(admin sarama.ClusterAdmin, random *rand.Rand) string {
	saramas.CreateTopic(admin, source, partitions)
	saramas.CreateTopic(admin, sink, partitions)
	producer := saramas.Producer(saramas.Config())
	work := &work{random: random}
	state := func() string { return fmt.Sprintf("%d of %d records copied", work.copied.Load(), records) }
	first, second := start(work, true), start(work, false)
	scene.Until(func() bool { return first.held.Load() == partitions/2 && second.held.Load() == partitions/2 }, state)
	saramas.Produce(producer, source, 0, records/2, keys)
	scene.Until(func() bool { return work.copied.Load() == records/2 }, state)
	scene.Expect(first.copied.Load() > 0 && second.copied.Load() > 0, "one of them copied nothing")
	first.close()
	saramas.Produce(producer, source, records/2, records, keys)
	third := start(work, false)
	scene.Until(func() bool { return work.copied.Load() == records }, state)
	second.close()
	third.close()
	scene.Check(producer.Close(), "close")

	ledger := scene.NewLedger()
	for _, record := range saramas.ReadAll(sink, sarama.ReadCommitted) {
		ledger.Arrive(record.Key, record.Value)
	}
	scene.Expect(ledger.Distinct() == records && ledger.Repeated() == 0, "%d records copied, %d of them twice", ledger.Distinct(), ledger.Repeated())
	committed := saramas.Committed(admin, group, source)
	scene.Expect(committed == records, "the group is at %d", committed)
	return fmt.Sprintf("%d records copied exactly once in %d transactions, %d aborted", records, work.commits.Load(), work.aborts.Load())
}

func start(work *work, abandons bool) *copier {
	config := saramas.Config()
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	members, err := sarama.NewConsumerGroup([]string{scene.Address()}, group, config)
	scene.Check(err, "a consumer group")
	running, stop := context.WithCancel(context.Background())
	one := &copier{work: work, abandons: abandons, group: members, stop: stop}
	one.done.Go(func() {
		for running.Err() == nil {
			err := members.Consume(running, []string{source}, one)
			scene.Expect(err == nil || errors.Is(err, context.Canceled), "consume: %v", err)
		}
	})
	go func() {
		for failed := range members.Errors() {
			scene.Fail("a member: %v", failed)
		}
	}()
	return one
}

func (one *copier) close() {
	one.stop()
	one.done.Wait()
	scene.Check(one.group.Close(), "close")
}

func (one *copier) Setup(sarama.ConsumerGroupSession) error {
	return nil
}

func (one *copier) Cleanup(sarama.ConsumerGroupSession) error {
	return nil
}

// ConsumeClaim copies a partition until its messages end.
func (one *copier) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	producer := transactional(fmt.Sprintf("sarama-copier-%d", claim.Partition()))
	one.held.Add(1)
	defer one.held.Add(-1)
	metadata := sarama.NewConsumerGroupMetadataFromSession(session, group, nil)
	for first := range claim.Messages() {
		batch := []*sarama.ConsumerMessage{first}
		for len(batch) < atOnce && len(claim.Messages()) > 0 {
			if next, open := <-claim.Messages(); open {
				batch = append(batch, next)
			}
		}
		// What was aborted is written again: the position of the group has not moved.
		for !one.transfer(producer, batch, metadata) {
		}
	}
	if one.abandons {
		scene.Check(producer.BeginTxn(), "begin")
		left := &sarama.ProducerMessage{Topic: sink, Key: sarama.StringEncoder("left open"), Value: sarama.StringEncoder("0")}
		_, _, err := producer.SendMessage(left)
		scene.Check(err, "produce")
		return nil
	}
	scene.Check(producer.Close(), "close")
	return nil
}

// transfer copies a batch in one transaction with its offsets, and tells whether it was committed.
func (one *copier) transfer(producer sarama.SyncProducer, batch []*sarama.ConsumerMessage, metadata *sarama.ConsumerGroupMetadata) bool {
	scene.Check(producer.BeginTxn(), "begin")
	var messages []*sarama.ProducerMessage
	for _, message := range batch {
		messages = append(messages, &sarama.ProducerMessage{Topic: sink, Key: sarama.ByteEncoder(message.Key), Value: sarama.ByteEncoder(message.Value)})
	}
	scene.Check(producer.SendMessages(messages), "produce")
	last := batch[len(batch)-1]
	scene.Check(producer.AddMessageToTxnWithGroupMetadata(last, metadata, nil), "offsets")
	if !one.work.commit() {
		scene.Check(producer.AbortTxn(), "abort")
		one.work.aborts.Add(1)
		return false
	}
	scene.Check(producer.CommitTxn(), "commit")
	one.work.commits.Add(1)
	one.copied.Add(int64(len(batch)))
	one.work.copied.Add(int64(len(batch)))
	return true
}
