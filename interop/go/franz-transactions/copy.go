package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	records    = 300
	keys       = 20
	partitions = 4
	// At most so many records go into a transaction.
	atOnce = 10
)

// copying is what two copiers and a successor have done together.
type copying struct {
	source, sink, group string
	copied              atomic.Int64
	commits             atomic.Int64
	aborts              atomic.Int64
}

// copier is one member of the group.
type copier struct {
	// The transactional id.
	id     string
	random *rand.Rand
	// How many partitions it has, and how many records it has copied.
	held, copied atomic.Int64
}

func (one *copier) change(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		for _, partitions := range topics {
			one.held.Add(int64(sign * len(partitions)))
		}
	}
}

// copy: two members of a group copy with random aborts, one of them is replaced half-way with its transaction open.
func (play *play) copy() string {
	work := &copying{source: "in-" + play.name, sink: "out-" + play.name, group: "copiers-" + play.name}
	franz.CreateTopic(play.admin, work.source, partitions)
	franz.CreateTopic(play.admin, work.sink, partitions)
	producer := franz.Client()

	var running sync.WaitGroup
	leaves, leave := context.WithCancel(context.Background())
	stays, stop := context.WithCancel(context.Background())
	state := func() string { return fmt.Sprintf("%d of %d records copied", work.copied.Load(), records) }
	start := func(until context.Context, id string, open bool) *copier {
		one := &copier{id: id + "-" + play.name, random: rand.New(rand.NewPCG(play.random.Uint64(), 1))}
		running.Go(func() { play.run(one, until, work, open) })
		return one
	}
	first, second := start(leaves, "leaves", true), start(stays, "stays", false)
	scene.Until(func() bool { return first.held.Load() == partitions/2 && second.held.Load() == partitions/2 }, state)
	franz.Produce(producer, work.source, 0, records/2, keys)
	scene.Until(func() bool { return work.copied.Load() == records/2 }, state)
	scene.Expect(first.copied.Load() > 0 && second.copied.Load() > 0, "one of them copied nothing")
	leave()
	franz.Produce(producer, work.source, records/2, records, keys)
	start(stays, "leaves", false)
	scene.Until(func() bool { return work.copied.Load() == records }, state)
	stop()
	running.Wait()
	producer.Close()

	ledger := scene.NewLedger()
	for _, record := range franz.ReadAll(play.admin, work.sink, kgo.ReadCommitted()) {
		ledger.Arrive(record.Key, record.Value)
	}
	scene.Expect(ledger.Distinct() == records && ledger.Repeated() == 0, "%d records copied, %d of them twice", ledger.Distinct(), ledger.Repeated())
	committed := franz.Committed(play.admin, work.group, work.source)
	scene.Expect(committed == records, "the group is at %d", committed)
	return fmt.Sprintf("%d records copied exactly once by two members in %d transactions, %d aborted", records, work.commits.Load(), work.aborts.Load())
}

// run copies until it is told to end; then it may leave a transaction open.
func (play *play) run(one *copier, until context.Context, work *copying, open bool) {
	options := append(play.options(
		one.id,
		kgo.ConsumerGroup(work.group),
		kgo.ConsumeTopics(work.source),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.OnPartitionsAssigned(one.change(1)),
		kgo.OnPartitionsRevoked(one.change(-1)),
		kgo.SeedBrokers(scene.Address()),
	), play.group...)
	session, err := kgo.NewGroupTransactSession(options...)
	scene.Check(err, "a session")
	defer session.Close()
	for until.Err() == nil {
		fetches := session.PollRecords(until, atOnce)
		for _, failed := range fetches.Errors() {
			scene.Expect(errors.Is(failed.Err, context.Canceled), "poll %s/%d: %v", failed.Topic, failed.Partition, failed.Err)
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		scene.Check(session.Begin(), "begin")
		fetches.EachRecord(func(record *kgo.Record) {
			session.Produce(scene.Within(), &kgo.Record{Topic: work.sink, Key: record.Key, Value: record.Value}, nil)
		})
		committed, err := session.End(scene.Within(), kgo.TransactionEndTry(one.random.IntN(10) < 6))
		scene.Check(err, "end a transaction")
		if committed {
			work.copied.Add(int64(fetches.NumRecords()))
			one.copied.Add(int64(fetches.NumRecords()))
			work.commits.Add(1)
		} else {
			work.aborts.Add(1)
		}
	}
	if open {
		scene.Check(session.Begin(), "begin")
		left := &kgo.Record{Topic: work.sink, Key: []byte("left open"), Value: []byte("0")}
		scene.Check(session.ProduceSync(scene.Within(), left).FirstErr(), "produce")
	}
}
