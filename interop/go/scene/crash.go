package scene

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// Stopped becomes true when the program's input closes.
func Stopped() *atomic.Bool {
	stopped := &atomic.Bool{}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stopped.Store(true)
	}()
	return stopped
}

// Acknowledgements are told to the harness as they come, one to a line.
type Acknowledgements struct {
	lock   sync.Mutex
	output *bufio.Writer
}

// NewAcknowledgements has told nothing.
func NewAcknowledgements() *Acknowledgements {
	return &Acknowledgements{output: bufio.NewWriter(os.Stdout)}
}

// Tell prints the record's value, partition and offset.
func (told *Acknowledgements) Tell(value string, partition int32, offset int64) {
	told.lock.Lock()
	defer told.lock.Unlock()
	fmt.Fprintf(told.output, "%s\t%d\t%d\n", value, partition, offset)
	Check(told.output.Flush(), "tell")
}
