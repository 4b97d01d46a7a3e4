// sarama-group SCENE STRATEGY: a group of two sarama members by one of its strategies, with what is particular to it.
package main

import (
	"fmt"
	"os"

	"github.com/IBM/sarama"

	"keyway/interop/saramas"
	"keyway/interop/scene"
)

const (
	partitions = 4
	keys       = 20
)

var strategies = map[string]func() sarama.BalanceStrategy{
	"range":              sarama.NewBalanceStrategyRange,
	"roundrobin":         sarama.NewBalanceStrategyRoundRobin,
	"sticky":             sarama.NewBalanceStrategySticky,
	"cooperative-sticky": sarama.NewBalanceStrategyCooperativeSticky,
}

// stage is a topic, its group, and what has come of it.
type stage struct {
	strategy     string
	topic, group string
	admin        sarama.ClusterAdmin
	producer     sarama.SyncProducer
	ledger       *scene.Ledger
	produced     int
	members      []*member
}

func (stage *stage) produce(count int) {
	saramas.Produce(stage.producer, stage.topic, stage.produced, stage.produced+count, keys)
	stage.produced += count
}

func (stage *stage) enter(instance string) *member {
	one := join(stage.topic, stage.group, stage.ledger, strategies[stage.strategy](), instance)
	stage.members = append(stage.members, one)
	return one
}

// until waits until it holds, and tells who has what if it does not.
func (stage *stage) until(holds func() bool) {
	scene.Until(holds, func() string {
		text := fmt.Sprintf("%d of %d records", stage.ledger.Distinct(), stage.produced)
		for _, one := range stage.members {
			text += fmt.Sprintf(", %v", one.holds())
		}
		return text
	})
}

// all waits until everything produced has arrived.
func (stage *stage) all() {
	stage.until(func() bool { return stage.ledger.Distinct() == stage.produced })
}

func main() {
	strategy := os.Args[2]
	stage := &stage{
		strategy: strategy,
		topic:    os.Args[1] + "-" + strategy,
		group:    "workers-" + os.Args[1] + "-" + strategy,
		admin:    saramas.Admin(),
		producer: saramas.Producer(saramas.Idempotent(saramas.Config())),
		ledger:   scene.NewLedger(),
	}
	saramas.CreateTopic(stage.admin, stage.topic, partitions)
	switch os.Args[1] {
	case "share":
		fmt.Println(strategy+":", stage.share())
	case "static":
		fmt.Println(strategy+":", stage.static())
	default:
		scene.Fail("no scene is called %s", os.Args[1])
	}
}
