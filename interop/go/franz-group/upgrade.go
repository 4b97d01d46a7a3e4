package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// upgrade: a running group goes over from the classic protocol to this one and back, member by member.
func upgrade(admin *kadm.Client, producer *kgo.Client, mode mode) string {
	topic, group := "upgraded-"+mode.name, "upgraded-"+mode.name
	franz.CreateTopic(admin, topic, partitions)
	ledger, produced := scene.NewLedger(), 0
	produce := func(count int) {
		franz.Produce(producer, topic, produced, produced+count, keys)
		produced += count
	}
	var members []*member
	enter := func(options ...kgo.Opt) *member {
		one := join(group, ledger, append([]kgo.Opt{kgo.ConsumeTopics(topic)}, options...)...)
		members = append(members, one)
		return one
	}
	state := func() string {
		text := fmt.Sprintf("%d of %d records", ledger.Distinct(), produced)
		for _, one := range members {
			text += fmt.Sprintf(", %v", one.history())
		}
		return text
	}
	// Records go on until everyone has their share, and all of them arrive.
	shared := func(sharing ...*member) {
		scene.Until(func() bool {
			produce(10)
			for _, one := range sharing {
				if one.count() != partitions/len(sharing) {
					return false
				}
			}
			return true
		}, state)
		scene.Until(func() bool { return ledger.Distinct() == produced }, state)
	}
	classic := kgo.Balancers(kgo.CooperativeStickyBalancer())
	kind := func(wanted string) {
		listed, err := admin.ListGroupsByType(scene.Within(), []string{wanted})
		scene.Check(err, "list groups")
		_, there := listed[group]
		scene.Expect(there, "the group is no %s group: %v", wanted, listed.Groups())
	}

	old := enter(classic)
	shared(old)
	kind("classic")
	first := enter(mode.options...)
	shared(old, first)
	kind("consumer")
	old.close()
	shared(first)
	second := enter(classic)
	shared(first, second)
	first.close()
	shared(second)
	kind("classic")
	second.close()
	committed := franz.Committed(admin, group, topic)
	scene.Expect(committed == produced, "committed %d of %d", committed, produced)
	scene.Expect(ledger.Repeated() == 0, "%d committed records came again", ledger.Repeated())
	return fmt.Sprintf("%d records once and in order by key while the group went over from the classic protocol and back", produced)
}
