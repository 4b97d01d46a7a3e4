package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/scene"
)

// records: ten in partition 0, twenty in 1 and so on; some are deleted, and the folders tell how much is stored.
func records(admin *kadm.Client, producer *kgo.Client) {
	for partition := range int32(4) {
		for range 10 * (partition + 1) {
			record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("twenty bytes of text")}
			scene.Check(producer.ProduceSync(scene.Within(), record).FirstErr(), "produce")
		}
	}
	ends, err := admin.ListEndOffsets(scene.Within(), topic)
	scene.Check(err, "list offsets")
	scene.Expect(fmt.Sprint(all(ends)) == "[10 20 30 40]", "the ends are %v", all(ends))
	cut := kadm.Offsets{}
	cut.AddOffset(topic, 1, 5, -1)
	cut.AddOffset(topic, 2, -1, -1)
	deleted, err := admin.DeleteRecords(scene.Within(), cut)
	scene.Check(err, "delete records")
	scene.Check(deleted.Error(), "delete records")
	starts, err := admin.ListStartOffsets(scene.Within(), topic)
	scene.Check(err, "list offsets")
	scene.Expect(fmt.Sprint(all(starts)) == "[0 5 30 0]", "the beginnings are %v", all(starts))
	beyond := kadm.Offsets{}
	beyond.AddOffset(topic, 0, 11, -1)
	deleted, err = admin.DeleteRecords(scene.Within(), beyond)
	scene.Check(err, "delete records")
	refused(deleted.Error(), kerr.OffsetOutOfRange, "deleting beyond the end")

	folders, err := admin.DescribeAllLogDirs(scene.Within(), kadm.TopicsSet{topic: {3: {}}})
	scene.Check(err, "describe log folders")
	size := int64(0)
	folders.Each(func(one kadm.DescribedLogDir) { size += one.Size() })
	scene.Expect(size >= 40*20, "partition 3 has %d bytes", size)
}

// all is the offsets by partition.
func all(listed kadm.ListedOffsets) []int64 {
	offsets := make([]int64, len(listed[topic]))
	for partition, one := range listed[topic] {
		scene.Check(one.Err, "list offsets")
		offsets[partition] = one.Offset
	}
	return offsets
}

// groups: offsets committed by the administrator, described with their lag, deleted one by one and with the group.
func groups(admin *kadm.Client) {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 7, LeaderEpoch: -1, Metadata: "by hand"})
	offsets.AddOffset(topic, 3, 11, -1)
	scene.Check(admin.CommitAllOffsets(scene.Within(), group, offsets), "commit")
	fetched, err := admin.FetchOffsets(scene.Within(), group)
	scene.Check(err, "fetch offsets")
	first, _ := fetched.Lookup(topic, 0)
	scene.Expect(len(fetched[topic]) == 2 && first.At == 7 && first.Metadata == "by hand", "fetched %+v", fetched)
	many := admin.FetchManyOffsets(scene.Within(), group, "nobody")
	scene.Check(many[group].Err, "fetch offsets of many")
	scene.Check(many["nobody"].Err, "fetch offsets of many")
	scene.Expect(len(many[group].Fetched[topic]) == 2 && len(many["nobody"].Fetched) == 0, "fetched %+v", many)

	listed, err := admin.ListGroups(scene.Within(), "Empty")
	scene.Check(err, "list groups")
	_, there := listed[group]
	scene.Expect(there, "listed are %v", listed.Groups())
	listed, err = admin.ListGroupsByType(scene.Within(), []string{"consumer"})
	scene.Check(err, "list groups")
	_, there = listed[group]
	scene.Expect(!there, "a classic group is listed as a consumer group")
	lags, err := admin.Lag(scene.Within(), group)
	scene.Check(err, "lag")
	one := lags[group]
	scene.Check(one.Error(), "lag")
	// Where nothing is committed, all that is left lags.
	scene.Expect(one.State == "Empty" && one.Lag.Total() == 3+15+0+29, "%s with a lag of %d", one.State, one.Lag.Total())

	removed, err := admin.DeleteOffsets(scene.Within(), group, kadm.TopicsSet{topic: {3: {}}})
	scene.Check(err, "delete offsets")
	scene.Check(removed.Error(), "delete offsets")
	fetched, err = admin.FetchOffsets(scene.Within(), group)
	scene.Check(err, "fetch offsets")
	scene.Expect(len(fetched[topic]) == 1, "left are %+v", fetched)
	_, err = admin.DeleteGroup(scene.Within(), group)
	scene.Check(err, "delete the group")
	_, err = admin.DeleteGroup(scene.Within(), group)
	refused(err, kerr.GroupIDNotFound, "deleting a group twice")
	described, err := admin.DescribeGroups(scene.Within(), group)
	scene.Check(err, "describe groups")
	refused(described[group].Err, kerr.GroupIDNotFound, "describing a group that is gone")
}
