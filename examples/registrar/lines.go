package main

import (
	"io"
	"sync"
)

// lines writes on a goroutine of its own what others write into it, so that a slow terminal or log does not hold up the readers of the sockets. What is
// waiting goes out in one write. Beyond maxWaiting bytes writers wait after all: an accounting line is never dropped.
type lines struct {
	out io.Writer

	mu      sync.Mutex
	changed sync.Cond // waiting grew or shrank, or closed
	waiting []byte
	closed  bool
	done    chan struct{}
}

const maxWaiting = 1 << 20

func newLines(out io.Writer) *lines {
	l := &lines{out: out, done: make(chan struct{})}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > maxWaiting && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return 0, io.ErrClosedPipe
	}
	l.waiting = append(l.waiting, b...)
	l.changed.Broadcast()
	return len(b), nil
}

func (l *lines) run() {
	defer close(l.done)
	var b []byte
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.changed.Wait()
		}
		b, l.waiting = l.waiting, b[:0]
		l.changed.Broadcast()
		l.mu.Unlock()
		if len(b) == 0 {
			return
		}
		_, _ = l.out.Write(b) // there is nowhere to say that the log is gone
	}
}

// Close writes what is waiting.
func (l *lines) Close() error {
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	<-l.done
	return nil
}
