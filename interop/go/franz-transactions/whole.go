package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	transactions = 40
	perTopic     = 20
)

// whole: what was committed is in both topics, and nothing else is.
func (play *play) whole() string {
	topics := []string{"debits-" + play.name, "credits-" + play.name}
	for _, topic := range topics {
		franz.CreateTopic(play.admin, topic, 2)
	}
	producer := franz.Client(play.options("payments-" + play.name)...)
	defer producer.Close()
	wanted, commits := map[string]bool{}, 0
	for number := range transactions {
		scene.Check(producer.BeginTransaction(), "begin")
		var values []string
		for record := range perTopic {
			value := fmt.Sprintf("%d-%d", number, record)
			values = append(values, value)
			for _, topic := range topics {
				record := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", record), Value: []byte(value)}
				producer.Produce(scene.Within(), record, nil)
			}
		}
		if play.random.IntN(10) < 6 {
			scene.Check(producer.Flush(scene.Within()), "flush")
			scene.Check(producer.EndTransaction(scene.Within(), kgo.TryCommit), "commit")
			commits++
			for _, value := range values {
				wanted[value] = true
			}
			continue
		}
		// What is not flushed is thrown away by the client.
		if play.random.IntN(2) == 0 {
			scene.Check(producer.Flush(scene.Within()), "flush")
		}
		scene.Check(producer.AbortBufferedRecords(scene.Within()), "throw away")
		scene.Check(producer.EndTransaction(scene.Within(), kgo.TryAbort), "abort")
	}
	for _, topic := range topics {
		found := map[string]bool{}
		for _, record := range franz.ReadAll(play.admin, topic, kgo.ReadCommitted()) {
			value := string(record.Value)
			scene.Expect(wanted[value] && !found[value], "%s: %s is there twice or was aborted", topic, value)
			found[value] = true
		}
		scene.Expect(len(found) == len(wanted), "%s: %d of %d records", topic, len(found), len(wanted))
	}
	return fmt.Sprintf("%d of %d transactions counted, in both topics", commits, transactions)
}
