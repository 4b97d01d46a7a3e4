package main

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// begun is a producer with one record in an open transaction.
func (play *play) begun(id, topic string) *kgo.Client {
	producer := franz.Client(play.options(id)...)
	scene.Check(producer.BeginTransaction(), "begin")
	record := &kgo.Record{Topic: topic, Key: []byte("open"), Value: []byte("undone")}
	scene.Check(producer.ProduceSync(scene.Within(), record).FirstErr(), "produce")
	return producer
}

// fence: the second producer of a transactional id takes over, and the first one's transaction is undone.
func (play *play) fence() {
	topic, id := "fenced-"+play.name, "twins-"+play.name
	franz.CreateTopic(play.admin, topic, 1)
	first := play.begun(id, topic)
	second := play.begun(id, topic)
	err := first.EndTransaction(scene.Within(), kgo.TryCommit)
	fenced := errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
	scene.Expect(fenced, "a fenced producer's commit ended with %v", err)
	scene.Check(second.EndTransaction(scene.Within(), kgo.TryCommit), "commit")
	first.Close()
	second.Close()
	committed := franz.ReadAll(play.admin, topic, kgo.ReadCommitted())
	scene.Expect(len(committed) == 1 && committed[0].Offset > 0, "%d records count", len(committed))
}

// look: an open transaction can be seen, holds readers of committed records back, and leaves nothing when it is aborted.
func (play *play) look() {
	topic, id := "looked-at-"+play.name, "seen-"+play.name
	franz.CreateTopic(play.admin, topic, 1)
	producer := play.begun(id, topic)
	described, err := play.admin.DescribeTransactions(scene.Within(), id, "nobody")
	scene.Check(err, "describe transactions")
	one := described[id]
	scene.Check(one.Err, "describe transactions")
	scene.Expect(one.State == "Ongoing" && one.Topics.Lookup(topic, 0), "the transaction is %+v", one)
	unknown := described["nobody"].Err
	scene.Expect(errors.Is(unknown, kerr.TransactionalIDNotFound), "an unknown one is described with %v", unknown)

	listed, err := play.admin.ListTransactions(scene.Within(), nil, []string{"Ongoing"})
	scene.Check(err, "list transactions")
	scene.Expect(listed[id].ProducerID == one.ProducerID, "listed as %+v", listed)
	producers, err := play.admin.DescribeProducers(scene.Within(), kadm.TopicsSet{topic: {0: {}}})
	scene.Check(err, "describe producers")
	active := producers[topic].Partitions[0].ActiveProducers[one.ProducerID]
	scene.Expect(active.CurrentTxnStartOffset == 0 && active.LastSequence == 0, "the producer is %+v", active)

	stable, err := play.admin.ListCommittedOffsets(scene.Within(), topic)
	scene.Check(err, "list offsets")
	end, err := play.admin.ListEndOffsets(scene.Within(), topic)
	scene.Check(err, "list offsets")
	scene.Expect(stable[topic][0].Offset == 0 && end[topic][0].Offset == 1, "ends are %v and %v", stable, end)

	scene.Check(producer.EndTransaction(scene.Within(), kgo.TryAbort), "abort")
	producer.Close()
	// The answer may come before the last marker is written.
	scene.Until(func() bool {
		described, err = play.admin.DescribeTransactions(scene.Within(), id)
		return err == nil && described[id].State == "CompleteAbort"
	}, func() string { return fmt.Sprintf("the transaction is %+v", described[id]) })
	scene.Expect(len(franz.ReadAll(play.admin, topic, kgo.ReadCommitted())) == 0, "an aborted record counts")
}
