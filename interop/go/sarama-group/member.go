package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

// member consumes in the background: it notes what arrives, marks it, and commits before it gives a partition up.
type member struct {
	group  sarama.ConsumerGroup
	ledger *scene.Ledger
	done   sync.WaitGroup
	stop   context.CancelFunc

	lock sync.Mutex
	held map[string]bool
	seen int
	lost int
}

func join(topic, group string, ledger *scene.Ledger, strategy sarama.BalanceStrategy, instance string) *member {
	config := saramas.Config()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Group.InstanceId = instance
	config.Consumer.Offsets.AutoCommit.Enable = false
	consumers, err := sarama.NewConsumerGroup([]string{scene.Address()}, group, config)
	scene.Check(err, "a consumer group")
	running, stop := context.WithCancel(context.Background())
	one := &member{group: consumers, ledger: ledger, stop: stop, held: map[string]bool{}}
	one.done.Go(func() {
		for running.Err() == nil {
			err := consumers.Consume(running, []string{topic}, one)
			scene.Expect(err == nil || errors.Is(err, sarama.ErrClosedConsumerGroup) || errors.Is(err, context.Canceled), "consume: %v", err)
		}
	})
	go func() {
		for failed := range consumers.Errors() {
			scene.Fail("a member: %v", failed)
		}
	}()
	return one
}

func (one *member) Setup(sarama.ConsumerGroupSession) error {
	return nil
}

func (one *member) Cleanup(sarama.ConsumerGroupSession) error {
	return nil
}

// ConsumeClaim has a partition until its messages end.
func (one *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	place := saramas.Place(claim.Topic(), claim.Partition())
	one.lock.Lock()
	one.held[place] = true
	one.lock.Unlock()
	for message := range claim.Messages() {
		one.ledger.Arrive(message.Key, message.Value)
		one.lock.Lock()
		one.seen++
		one.lock.Unlock()
		session.MarkMessage(message, "")
	}
	session.Commit()
	one.lock.Lock()
	delete(one.held, place)
	one.lost++
	one.lock.Unlock()
	return nil
}

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

func (one *member) records() int {
	one.lock.Lock()
	defer one.lock.Unlock()
	return one.seen
}

// revoked is how often it gave a partition up.
func (one *member) revoked() int {
	one.lock.Lock()
	defer one.lock.Unlock()
	return one.lost
}

// close leaves the group as the client does; a static member only goes away.
func (one *member) close() {
	one.stop()
	one.done.Wait()
	scene.Check(one.group.Close(), "close")
}
