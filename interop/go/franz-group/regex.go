package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// regex: two members subscribe by an expression; a topic that comes later and matches is shared as well, others are not.
func regex(admin *kadm.Client, producer *kgo.Client, mode mode) string {
	first, later, other := mode.name+"-clicks-first", mode.name+"-clicks-later", mode.name+"-orders-first"
	franz.CreateTopic(admin, first, 2)
	franz.CreateTopic(admin, other, 2)
	ledger := scene.NewLedger()
	enter := func() *member {
		options := []kgo.Opt{kgo.ConsumeRegex(), kgo.ConsumeTopics("^" + mode.name + "-clicks-[a-z]+$")}
		return join("by-expression-"+mode.name, ledger, append(options, mode.options...)...)
	}
	members := []*member{enter(), enter()}
	held := func() string { return fmt.Sprintf("%v and %v", members[0].holds(), members[1].holds()) }
	holding := func(count int) func() bool {
		return func() bool { return members[0].count() == count && members[1].count() == count }
	}
	scene.Until(holding(1), held)
	franz.Produce(producer, first, 0, 50, 5)
	scene.Until(func() bool { return ledger.Distinct() == 50 }, held)

	franz.CreateTopic(admin, later, 2)
	scene.Until(holding(2), held)
	franz.Produce(producer, other, 0, 50, 5)
	franz.Produce(producer, later, 50, 150, 5)
	scene.Until(func() bool { return ledger.Distinct() == 150 }, held)
	for _, one := range members {
		one.close()
	}
	scene.Expect(ledger.Repeated() == 0, "%d records came from elsewhere", ledger.Repeated())
	return "two members followed an expression to a topic that came later"
}
