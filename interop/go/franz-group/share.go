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

const (
	partitions = 4
	keys       = 20
)

// share: records go on while a member joins and one leaves, and a successor resumes where they committed.
func share(admin *kadm.Client, producer *kgo.Client, mode mode) string {
	topic, group := "orders-"+mode.name, "workers-"+mode.name
	franz.CreateTopic(admin, topic, partitions)
	ledger, produced := scene.NewLedger(), 0
	produce := func(count int) {
		franz.Produce(producer, topic, produced, produced+count, keys)
		produced += count
	}
	enter := func() *member {
		return join(group, ledger, append([]kgo.Opt{kgo.ConsumeTopics(topic)}, mode.options...)...)
	}
	var members []*member
	state := func() string {
		text := fmt.Sprintf("%d of %d records", ledger.Distinct(), produced)
		for _, one := range members {
			text += fmt.Sprintf(", %v", one.history())
		}
		return text
	}
	all := func() bool { return ledger.Distinct() == produced }

	produce(200)
	first := enter()
	members = append(members, first)
	scene.Until(all, state)
	scene.Expect(first.count() == partitions, "the only member has %v", first.holds())

	started := time.Now()
	second := enter()
	members = append(members, second)
	scene.Until(func() bool {
		produce(10)
		return first.count() == partitions/2 && second.count() == partitions/2
	}, state)
	shared := time.Since(started)
	holds := append(first.holds(), second.holds()...)
	slices.Sort(holds)
	scene.Expect(len(slices.Compact(holds)) == partitions, "shared as %v and %v", first.holds(), second.holds())
	if mode.keeps {
		scene.Expect(first.revoked() == partitions/2, "the first member was to keep half: %v", first.history())
	}
	produce(200)
	scene.Until(all, state)
	scene.Expect(second.records() > 0, "the second member got nothing")
	described(admin, group, mode)

	first.close()
	scene.Until(func() bool {
		produce(10)
		return second.count() == partitions
	}, state)
	scene.Until(all, state)
	second.close()

	committed := franz.Committed(admin, group, topic)
	scene.Expect(committed == produced, "committed %d of %d", committed, produced)
	produce(100)
	third := enter()
	members = append(members, third)
	scene.Until(all, state)
	scene.Expect(third.records() == 100, "the successor got %d records", third.records())
	third.close()
	scene.Expect(ledger.Repeated() == 0, "%d committed records came again", ledger.Repeated())

	_, err := admin.DeleteGroup(scene.Within(), group)
	scene.Check(err, "delete the group")
	return fmt.Sprintf("%d records once and in order by key over three members, shared after %.1f s", produced, shared.Seconds())
}

// described asks the broker who is in the group and what they have.
func described(admin *kadm.Client, group string, mode mode) {
	var state string
	var counts []int
	if mode.consumer {
		groups, err := admin.DescribeConsumerGroups(scene.Within(), group)
		scene.Check(err, "describe")
		scene.Check(groups.Error(), "describe")
		state = groups[group].State
		for _, one := range groups[group].Members {
			count := 0
			for _, partitions := range one.Assignment {
				count += len(partitions)
			}
			counts = append(counts, count)
		}
	} else {
		groups, err := admin.DescribeGroups(scene.Within(), group)
		scene.Check(err, "describe")
		scene.Check(groups.Error(), "describe")
		state = groups[group].State
		for _, one := range groups[group].Members {
			assignment, ok := one.Assigned.AsConsumer()
			scene.Expect(ok, "%s has no consumer's assignment", one.MemberID)
			counts = append(counts, len(assignment.Topics[0].Partitions))
		}
	}
	scene.Expect(state == "Stable", "the group is %s", state)
	scene.Expect(slices.Equal(counts, []int{partitions / 2, partitions / 2}), "described with %v partitions", counts)
}
