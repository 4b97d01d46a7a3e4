package main

import (
	"slices"

	"keyway/interop/scene"
)

// static: a member with a name of its own goes and comes back to what it had, and the other one notices nothing.
func (stage *stage) static() string {
	stays, goes := stage.enter("stays"), stage.enter("goes")
	stage.until(func() bool { return len(stays.holds()) == partitions/2 && len(goes.holds()) == partitions/2 })
	stage.produce(100)
	stage.all()
	had, revoked := goes.holds(), stays.revoked()
	goes.close()
	stage.produce(100)
	back := stage.enter("goes")
	stage.all()
	stage.until(func() bool { return len(back.holds()) == partitions/2 })
	scene.Expect(slices.Equal(back.holds(), had), "it came back to %v instead of %v", back.holds(), had)
	scene.Expect(stays.revoked() == revoked, "the other member gave up %d partitions", stays.revoked()-revoked)
	scene.Expect(stage.ledger.Repeated() == 0, "%d committed records came again", stage.ledger.Repeated())

	// Only the administrator makes a static member leave for good.
	back.close()
	left, err := stage.admin.RemoveMemberFromConsumerGroup(stage.group, []string{"goes"})
	scene.Check(err, "remove a static member")
	scene.Expect(left.Err == 0 && left.Members[0].Err == 0, "remove a static member: %+v", left)
	stage.until(func() bool { return len(stays.holds()) == partitions })
	stage.produce(100)
	stage.all()
	stays.close()
	return "a named member came back to its partitions unnoticed, and was removed"
}
