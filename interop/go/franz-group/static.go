package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// static: a member with a name of its own goes and comes back to what it had, and the other one notices nothing.
func static(admin *kadm.Client, producer *kgo.Client, mode mode) string {
	topic, group := "by-name-"+mode.name, "named-"+mode.name
	franz.CreateTopic(admin, topic, partitions)
	ledger := scene.NewLedger()
	enter := func(name string) *member {
		options := []kgo.Opt{kgo.InstanceID(name), kgo.ConsumeTopics(topic), kgo.SessionTimeout(20 * time.Second)}
		return join(group, ledger, append(options, mode.options...)...)
	}
	stays, goes := enter("stays"), enter("goes")
	held := func() string { return fmt.Sprintf("%v and %v", stays.history(), goes.history()) }
	scene.Until(func() bool { return stays.count() == partitions/2 && goes.count() == partitions/2 }, held)
	franz.Produce(producer, topic, 0, 100, keys)
	scene.Until(func() bool { return ledger.Distinct() == 100 }, held)
	had, changes := goes.holds(), len(stays.history())

	goes.close()
	franz.Produce(producer, topic, 100, 200, keys)
	back := enter("goes")
	scene.Until(func() bool { return ledger.Distinct() == 200 }, held)
	scene.Expect(slices.Equal(back.holds(), had), "it came back to %v instead of %v", back.holds(), had)
	scene.Expect(len(stays.history()) == changes, "the other member noticed: %v", stays.history())
	scene.Expect(ledger.Repeated() == 0, "%d committed records came again", ledger.Repeated())

	// Only the administrator makes a static member leave for good.
	back.close()
	left, err := admin.LeaveGroup(scene.Within(), kadm.LeaveGroup(group).Reason("gone").InstanceIDs("goes"))
	scene.Check(err, "remove a static member")
	scene.Check(left.Error(), "remove a static member")
	held = func() string { return fmt.Sprint(stays.history()) }
	scene.Until(func() bool { return stays.count() == partitions }, held)
	franz.Produce(producer, topic, 200, 300, keys)
	scene.Until(func() bool { return ledger.Distinct() == 300 }, held)
	stays.close()
	return "a named member came back to its partitions unnoticed, and was removed"
}
