// franz-transactions GENERATION SEED: transactions whole or not at all, a copy that is there exactly once, fencing, and
// what the administration says of a transaction, by either generation of the protocol.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"keyway/interop/franz"
	"keyway/interop/scene"
)

// generation is the way in which partitions and offsets come into a transaction.
type generation struct {
	options []kgo.Opt
	group   []kgo.Opt
	// Whether the client names them before it writes, as it did before KIP-890.
	explicit bool
}

var generations = map[string]generation{
	"explicit": {
		options:  []kgo.Opt{kgo.MaxVersions(kversion.V3_7_0())},
		group:    []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())},
		explicit: true,
	},
	"implicit": {group: []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}},
}

// requests counts what goes over the wire.
type requests struct {
	explicit atomic.Int64
	ends     atomic.Int64
}

func (requests *requests) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch kmsg.Key(key) {
	case kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn:
		requests.explicit.Add(1)
	case kmsg.EndTxn:
		requests.ends.Add(1)
	}
}

// play is one run: a generation, its chances, and where it is played.
type play struct {
	generation
	name   string
	random *rand.Rand
	sent   *requests
	admin  *kadm.Client
}

// options are those of a client with this transactional id.
func (play *play) options(id string, more ...kgo.Opt) []kgo.Opt {
	options := append([]kgo.Opt{kgo.TransactionalID(id), kgo.WithHooks(play.sent)}, play.generation.options...)
	return append(options, more...)
}

func main() {
	generation, known := generations[os.Args[1]]
	scene.Expect(known, "no generation is called %s", os.Args[1])
	play := &play{
		generation: generation,
		name:       os.Args[1],
		random:     scene.Random(2),
		sent:       &requests{},
		admin:      kadm.NewClient(franz.Client()),
	}
	whole := play.whole()
	copied := play.copy()
	play.fence()
	play.look()
	ends, explicit := play.sent.ends.Load(), play.sent.explicit.Load()
	if play.explicit {
		scene.Expect(explicit >= ends, "only %d partitions or offsets were named before %d ends", explicit, ends)
	} else {
		scene.Expect(explicit == 0, "%d partitions or offsets were named before", explicit)
	}
	fmt.Printf("%s: %s; %s; a producer fenced, an open transaction described and aborted\n", play.name, whole, copied)
}
