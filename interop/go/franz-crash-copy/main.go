// franz-crash-copy GENERATION: copies what it produces, exactly once, until its input closes; it prints a line for every
// transaction that it has committed. The broker may die at any time.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	partitions = 3
	keys       = 10
	atOnce     = 50
	// A transaction that nobody ends is ended by the broker, and the copier started again waits for that.
	timeout = 10 * time.Second
)

// soon is sooner than a client tries again by default, which is later than a broker needs to come back.
func soon(int) time.Duration {
	return 100 * time.Millisecond
}

// work is a source, its copy, and how the client is told to make it.
type work struct {
	source, sink, group string
	options             []kgo.Opt
	told                *scene.Acknowledgements
	commits             atomic.Int64
	// Copiers that were given up because the end of a transaction was not known.
	replaced atomic.Int64
}

func main() {
	generation := os.Args[1]
	work := &work{
		source: "crash-in-" + generation,
		sink:   "crash-out-" + generation,
		group:  "crash-copiers-" + generation,
		told:   scene.NewAcknowledgements(),
	}
	switch generation {
	case "explicit":
		work.options = []kgo.Opt{kgo.MaxVersions(kversion.V3_7_0()), kgo.Balancers(kgo.CooperativeStickyBalancer())}
	case "implicit":
		work.options = []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	default:
		scene.Fail("no generation is called %s", generation)
	}
	stopped := scene.Stopped()
	admin := kadm.NewClient(franz.Client(kgo.RetryBackoffFn(soon)))
	franz.CreateTopic(admin, work.source, partitions)
	franz.CreateTopic(admin, work.sink, partitions)

	running, stop := context.WithCancel(context.Background())
	var copier sync.WaitGroup
	copier.Go(func() {
		for running.Err() == nil {
			if !work.copy(running) {
				work.replaced.Add(1)
			}
		}
	})
	produced := work.produce(stopped)
	scene.Until(func() bool {
		offsets, err := admin.FetchOffsetsForTopics(scene.Within(), work.group, work.source)
		sum := int64(0)
		offsets.Each(func(one kadm.OffsetResponse) { sum += max(one.At, 0) })
		return err == nil && sum == int64(produced)
	}, func() string { return fmt.Sprintf("%d records are not copied", produced) })
	stop()
	copier.Wait()

	ledger := scene.NewLedger()
	for _, record := range franz.ReadAll(admin, work.sink, kgo.ReadCommitted()) {
		ledger.Arrive(record.Key, record.Value)
	}
	scene.Expect(ledger.Distinct() == produced && ledger.Repeated() == 0, "%d of %d records copied, %d of them twice", ledger.Distinct(), produced, ledger.Repeated())
	fmt.Printf("%s: %d records copied exactly once in %d transactions, the copier replaced %d times\n", generation, produced, work.commits.Load(), work.replaced.Load())
}

// produce writes numbered records until it is stopped, and returns how many; the client keeps them in order and single.
func (work *work) produce(stopped *atomic.Bool) int {
	producer := franz.Client(kgo.RetryBackoffFn(soon), kgo.MaxBufferedRecords(500))
	number := 0
	for ; !stopped.Load(); number++ {
		key, value := scene.Numbered(number, keys)
		record := &kgo.Record{Topic: work.source, Key: []byte(key), Value: []byte(value)}
		producer.Produce(context.Background(), record, func(_ *kgo.Record, err error) { scene.Check(err, "produce") })
		time.Sleep(time.Millisecond)
	}
	scene.Check(producer.Flush(scene.Within()), "flush")
	producer.Close()
	return number
}

// copy goes on until it is told to end, which is true, or the end of a transaction is not known.
func (work *work) copy(running context.Context) bool {
	session, err := kgo.NewGroupTransactSession(append([]kgo.Opt{
		kgo.SeedBrokers(scene.Address()),
		kgo.TransactionalID("crash-copier-" + os.Args[1]),
		kgo.TransactionTimeout(timeout),
		kgo.ConsumerGroup(work.group),
		kgo.ConsumeTopics(work.source),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.RetryBackoffFn(soon),
	}, work.options...)...)
	scene.Check(err, "a session")
	defer session.Close()
	for running.Err() == nil {
		// What a poll complains of while the broker is away is tried again by the client.
		fetches := session.PollRecords(running, atOnce)
		if fetches.NumRecords() == 0 {
			continue
		}
		if session.Begin() != nil {
			return false
		}
		var failed atomic.Bool
		last := ""
		fetches.EachRecord(func(record *kgo.Record) {
			last = fmt.Sprintf("%s-%s", record.Key, record.Value)
			copied := &kgo.Record{Topic: work.sink, Key: record.Key, Value: record.Value}
			session.Produce(scene.Within(), copied, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
		})
		if err := session.Client().Flush(scene.Within()); err != nil {
			return false
		}
		committed, err := session.End(scene.Within(), kgo.TransactionEndTry(!failed.Load()))
		if err != nil {
			fmt.Fprintln(os.Stderr, "the end of a transaction:", err)
			return false
		}
		if committed {
			work.commits.Add(1)
			work.told.Tell(last, 0, 0)
		}
	}
	return true
}
