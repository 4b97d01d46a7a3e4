// sarama-transactions SEED: transactions whole or not at all, a copy that is there exactly once, and fencing.
package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

// transactional is a producer with this transactional id; it takes over from whoever had it.
func transactional(id string) sarama.SyncProducer {
	config := saramas.Idempotent(saramas.Config())
	config.Producer.Transaction.ID = id
	return saramas.Producer(config)
}

func main() {
	random := scene.Random(1)
	admin := saramas.Admin()
	whole := whole(admin, random)
	copied := copyOnce(admin, random)
	fence(admin)
	fmt.Printf("%s; %s; a producer fenced\n", whole, copied)
}

// whole: what was committed is in both topics, and nothing else is.
func whole(admin sarama.ClusterAdmin, random *rand.Rand) string {
	const transactions, perTopic = 40, 20
	topics := []string{"sarama-debits", "sarama-credits"}
	for _, topic := range topics {
		saramas.CreateTopic(admin, topic, 2)
	}
	producer := transactional("sarama-payments")
	wanted, commits := map[string]bool{}, 0
	for number := range transactions {
		scene.Check(producer.BeginTxn(), "begin")
		var messages []*sarama.ProducerMessage
		var values []string
		for record := range perTopic {
			value := fmt.Sprintf("%d-%d", number, record)
			values = append(values, value)
			for _, topic := range topics {
				key := sarama.StringEncoder(fmt.Sprint(record))
				messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: key, Value: sarama.StringEncoder(value)})
			}
		}
		scene.Check(producer.SendMessages(messages), "produce")
		if random.IntN(10) < 4 {
			scene.Check(producer.AbortTxn(), "abort")
			continue
		}
		scene.Check(producer.CommitTxn(), "commit")
		commits++
		for _, value := range values {
			wanted[value] = true
		}
	}
	scene.Check(producer.Close(), "close")
	for _, topic := range topics {
		found := map[string]bool{}
		for _, record := range saramas.ReadAll(topic, sarama.ReadCommitted) {
			value := string(record.Value)
			scene.Expect(wanted[value] && !found[value], "%s: %s is there twice or was aborted", topic, value)
			found[value] = true
		}
		scene.Expect(len(found) == len(wanted), "%s: %d of %d records", topic, len(found), len(wanted))
		dirty := len(saramas.ReadAll(topic, sarama.ReadUncommitted))
		scene.Expect(dirty == transactions*perTopic, "%s: %d records with the aborted ones", topic, dirty)
	}
	return fmt.Sprintf("%d of %d transactions counted, in both topics", commits, transactions)
}

// fence: the second producer of a transactional id takes over, and the first one's transaction is undone.
func fence(admin sarama.ClusterAdmin) {
	const topic, id = "sarama-fenced", "sarama-twins"
	saramas.CreateTopic(admin, topic, 1)
	send := func(producer sarama.SyncProducer, value string) error {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
		return err
	}
	first := transactional(id)
	scene.Check(first.BeginTxn(), "begin")
	scene.Check(send(first, "undone"), "produce")
	second := transactional(id)
	err := first.CommitTxn()
	scene.Expect(err != nil && first.TxnStatus()&sarama.ProducerTxnFlagFatalError != 0, "a fenced producer's commit ended with %v, %v", err, first.TxnStatus())
	scene.Check(second.BeginTxn(), "begin")
	scene.Check(send(second, "done"), "produce")
	scene.Check(second.CommitTxn(), "commit")
	committed := saramas.ReadAll(topic, sarama.ReadCommitted)
	scene.Expect(len(committed) == 1 && string(committed[0].Value) == "done", "%d records count", len(committed))
	scene.Check(second.Close(), "close")
	_ = first.Close()
}
