// Package scene is what the programs share: the broker, numbered records by key, waiting by the clock, one way to fail.
package scene

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Limit is how long anything may take that a program waits for.
const Limit = 40 * time.Second

// Address is where the broker listens.
func Address() string {
	return os.Getenv("KAFKA")
}

// Fail ends the program; the harness shows the reason.
func Fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// Expect fails with the reason unless the condition holds.
func Expect(holds bool, format string, args ...any) {
	if !holds {
		Fail(format, args...)
	}
}

// Check fails with what was attempted if it ended in an error.
func Check(err error, attempt string) {
	if err != nil {
		Fail("%s: %v", attempt, err)
	}
}

// Within is a context that ends when what it is for has taken too long.
func Within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	// Nobody waits for it to be let go: it lets go of itself when it has ended.
	context.AfterFunc(ctx, cancel)
	return ctx
}

// Until waits until it holds; what is not so in time fails with what state says.
func Until(holds func() bool, state func() string) {
	deadline := time.Now().Add(Limit)
	for !holds() {
		if time.Now().After(deadline) {
			Fail("after %v: %s", Limit, state())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Random repeats with the seed that is the program's argument at this place.
func Random(place int) *rand.Rand {
	seed, err := strconv.ParseUint(os.Args[place], 10, 64)
	Check(err, "the seed")
	return rand.New(rand.NewPCG(seed, seed))
}
