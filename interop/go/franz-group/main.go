// franz-group SCENE MODE: a group of two franz-go members by one of the ways a group can work, with what is particular to it.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

const (
	// Of classic members; the consumer protocol has its own from the broker.
	heartbeat   = 300 * time.Millisecond
	fetchWait   = 200 * time.Millisecond
	metadataAge = time.Second
)

// mode is one of the ways in which partitions find their members.
type mode struct {
	name    string
	options []kgo.Opt
	// Whether the broker assigns, by the consumer protocol.
	consumer bool
	// Whether a member keeps what it has while the group rebalances.
	keeps bool
}

func modes() []mode {
	classic := func(balancer kgo.GroupBalancer) []kgo.Opt { return []kgo.Opt{kgo.Balancers(balancer)} }
	consumer := func(balancer kgo.GroupBalancer) []kgo.Opt {
		return []kgo.Opt{kgo.Balancers(balancer), kgo.ServerSideBalancer()}
	}
	return []mode{
		{name: "range", options: classic(kgo.RangeBalancer())},
		{name: "sticky", options: classic(kgo.StickyBalancer())},
		{name: "cooperative-sticky", options: classic(kgo.CooperativeStickyBalancer()), keeps: true},
		{name: "consumer-uniform", options: consumer(kgo.StickyBalancer()), consumer: true, keeps: true},
		{name: "consumer-range", options: consumer(kgo.RangeBalancer()), consumer: true, keeps: true},
	}
}

func main() {
	admin := kadm.NewClient(franz.Client())
	producer := franz.Client()
	for _, mode := range modes() {
		if mode.name == os.Args[2] {
			switch os.Args[1] {
			case "share":
				fmt.Println(mode.name+":", share(admin, producer, mode))
			case "regex":
				fmt.Println(mode.name+":", regex(admin, producer, mode))
			case "static":
				fmt.Println(mode.name+":", static(admin, producer, mode))
			case "upgrade":
				fmt.Println(mode.name+":", upgrade(admin, producer, mode))
			default:
				scene.Fail("no scene is called %s", os.Args[1])
			}
			return
		}
	}
	scene.Fail("no mode is called %v", os.Args[1:])
}
