package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// member polls in the background: it notes what arrives, commits it, and only then lets the group rebalance.
type member struct {
	client *kgo.Client
	done   sync.WaitGroup
	stop   context.CancelFunc

	lock sync.Mutex
	// What it holds, as "topic/partition".
	held map[string]bool
	// Every change of it, in order.
	changes []string
	seen    int
}

func join(group string, ledger *scene.Ledger, options ...kgo.Opt) *member {
	running, stop := context.WithCancel(context.Background())
	one := &member{stop: stop, held: map[string]bool{}}
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(heartbeat),
		kgo.FetchMaxWait(fetchWait),
		kgo.MetadataMaxAge(metadataAge),
		kgo.MetadataMinAge(metadataAge / 2),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, more map[string][]int32) { one.change("+", more, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, less map[string][]int32) { one.change("-", less, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, less map[string][]int32) { one.change("lost ", less, false) }),
	}, options...)
	one.client = franz.Client(options...)
	one.done.Go(func() {
		for running.Err() == nil {
			one.poll(running, ledger)
		}
	})
	return one
}

func (one *member) poll(running context.Context, ledger *scene.Ledger) {
	fetches := one.client.PollFetches(running)
	defer one.client.AllowRebalance()
	for _, failed := range fetches.Errors() {
		scene.Expect(errors.Is(failed.Err, context.Canceled), "poll %s/%d: %v", failed.Topic, failed.Partition, failed.Err)
	}
	fetches.EachRecord(func(record *kgo.Record) {
		place := fmt.Sprintf("%s/%d", record.Topic, record.Partition)
		one.lock.Lock()
		scene.Expect(one.held[place], "a record of %s came, which is not held", place)
		one.seen++
		one.lock.Unlock()
		ledger.Arrive(record.Key, record.Value)
	})
	if fetches.NumRecords() > 0 {
		scene.Check(one.client.CommitUncommittedOffsets(scene.Within()), "commit")
	}
}

func (one *member) change(sign string, topics map[string][]int32, held bool) {
	one.lock.Lock()
	defer one.lock.Unlock()
	for topic, partitions := range topics {
		slices.Sort(partitions)
		for _, partition := range partitions {
			place := fmt.Sprintf("%s/%d", topic, partition)
			if held {
				scene.Expect(!one.held[place], "%s was assigned twice", place)
				one.held[place] = true
			} else {
				delete(one.held, place)
			}
			one.changes = append(one.changes, sign+place)
		}
	}
}

// holds is the partitions that it has now, sorted.
func (one *member) holds() []string {
	one.lock.Lock()
	defer one.lock.Unlock()
	var places []string
	for place := range one.held {
		places = append(places, place)
	}
	slices.Sort(places)
	return places
}

func (one *member) count() int {
	return len(one.holds())
}

func (one *member) records() int {
	one.lock.Lock()
	defer one.lock.Unlock()
	return one.seen
}

// history is every change of what it holds, in order.
func (one *member) history() []string {
	one.lock.Lock()
	defer one.lock.Unlock()
	return slices.Clone(one.changes)
}

// revoked is how often it lost a partition, by its will or not.
func (one *member) revoked() int {
	count := 0
	for _, change := range one.history() {
		if !strings.HasPrefix(change, "+") {
			count++
		}
	}
	return count
}

// close leaves the group as the client does; a static member only goes away.
func (one *member) close() {
	one.stop()
	one.done.Wait()
	one.client.CloseAllowingRebalance()
}
