package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

// share: records go on while a member joins and one leaves, and a successor resumes where they committed.
func (stage *stage) share() string {
	stage.produce(200)
	first := stage.enter("")
	stage.all()
	stage.until(func() bool { return len(first.holds()) == partitions })

	started := time.Now()
	second := stage.enter("")
	stage.until(func() bool {
		stage.produce(10)
		return len(first.holds()) == partitions/2 && len(second.holds()) == partitions/2
	})
	shared := time.Since(started)
	holds := append(first.holds(), second.holds()...)
	slices.Sort(holds)
	scene.Expect(len(slices.Compact(holds)) == partitions, "shared as %v and %v", first.holds(), second.holds())
	if stage.strategy == sarama.CooperativeStickyBalanceStrategyName {
		scene.Expect(first.revoked() == partitions/2, "the first member gave up %d partitions instead of half", first.revoked())
	}
	stage.produce(200)
	stage.all()
	scene.Expect(second.records() > 0, "the second member got nothing")
	stage.described()

	first.close()
	stage.until(func() bool {
		stage.produce(10)
		return len(second.holds()) == partitions
	})
	stage.all()
	second.close()

	committed := saramas.Committed(stage.admin, stage.group, stage.topic)
	scene.Expect(committed == stage.produced, "committed %d of %d", committed, stage.produced)
	stage.produce(100)
	third := stage.enter("")
	stage.all()
	scene.Expect(third.records() == 100, "the successor got %d records", third.records())
	third.close()
	scene.Expect(stage.ledger.Repeated() == 0, "%d committed records came again", stage.ledger.Repeated())
	scene.Check(stage.admin.DeleteConsumerGroup(stage.group), "delete the group")
	return fmt.Sprintf("%d records once and in order by key over three members, shared after %.1f s", stage.produced, shared.Seconds())
}

// described asks the broker who is in the group and what they have.
func (stage *stage) described() {
	groups, err := stage.admin.DescribeConsumerGroups([]string{stage.group})
	scene.Check(err, "describe")
	one := groups[0]
	scene.Expect(one.State == "Stable" && one.Protocol == stage.strategy, "the group is %s by %s", one.State, one.Protocol)
	var counts []int
	for _, member := range one.Members {
		assignment, err := member.GetMemberAssignment()
		scene.Check(err, "an assignment")
		counts = append(counts, len(assignment.Topics[stage.topic]))
	}
	scene.Expect(slices.Equal(counts, []int{partitions / 2, partitions / 2}), "described with %v partitions", counts)
}
