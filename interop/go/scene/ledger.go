package scene

import (
	"fmt"
	"strconv"
	"sync"
)

// Numbered is the key and the value of a record: records are numbered within their key.
func Numbered(number, keys int) (key, value string) {
	return fmt.Sprintf("key-%d", number%keys), strconv.Itoa(number / keys)
}

// Ledger is what has arrived, by key: a key may be set back to where its group was committed, but never skips a record.
type Ledger struct {
	lock     sync.Mutex
	next     map[string]int
	distinct int
	repeated int
}

// NewLedger has seen nothing.
func NewLedger() *Ledger {
	return &Ledger{next: map[string]int{}}
}

// Arrive notes a record; one that skips others ends the program.
func (ledger *Ledger) Arrive(key, value []byte) {
	number, err := strconv.Atoi(string(value))
	Check(err, "a foreign value")
	ledger.lock.Lock()
	defer ledger.lock.Unlock()
	next := ledger.next[string(key)]
	Expect(number <= next, "%s: %d came instead of %d", key, number, next)
	if number < next {
		ledger.repeated++
		return
	}
	ledger.next[string(key)] = next + 1
	ledger.distinct++
}

// Distinct counts the records that have arrived, each once.
func (ledger *Ledger) Distinct() int {
	ledger.lock.Lock()
	defer ledger.lock.Unlock()
	return ledger.distinct
}

// Repeated counts those that arrived again.
func (ledger *Ledger) Repeated() int {
	ledger.lock.Lock()
	defer ledger.lock.Unlock()
	return ledger.repeated
}
