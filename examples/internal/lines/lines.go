// Package lines is how the example servers write their logs.
package lines

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Writer writes on a goroutine of its own what others write into it, so that a slow terminal or log does not hold up the readers of the sockets. What is
// waiting goes out in one write. Beyond maxWaiting bytes writers wait after all, but not for a log that nobody has read from for patience: then
// lines are dropped, and when it is read again it says how many. Calls go on without a log; they would not if each waited for it.
type Writer struct {
	out io.Writer

	mu      sync.Mutex
	changed sync.Cond // waiting grew or shrank, patience is over, or closed
	waiting []byte
	since   time.Time   // when the write in progress began
	overdue *time.Timer // wakes those who wait when it lasts
	stuck   bool        // it has lasted
	lost    int
	closed  bool
	done    chan struct{}
}

const (
	maxWaiting = 1 << 20
	patience   = time.Second
)

// New gives a Writer to out. Close ends it.
func New(out io.Writer) *Writer {
	l := &Writer{out: out, done: make(chan struct{})}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// Write implements io.Writer.
func (l *Writer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > maxWaiting && !l.closed && !l.stuck {
		l.watch()
		l.changed.Wait()
	}
	switch {
	case l.closed:
		return 0, io.ErrClosedPipe
	case len(l.waiting) > maxWaiting:
		l.lost++
		return len(b), nil
	}
	l.waiting = append(l.waiting, b...)
	l.changed.Broadcast()
	return len(b), nil
}

// watch sees to it that those who wait hear when patience is over.
func (l *Writer) watch() {
	if l.overdue == nil {
		l.overdue = time.AfterFunc(patience, l.late) // from now: the last write may be long over, and the next about to begin
	}
}

func (l *Writer) late() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.overdue = nil
	l.stuck = time.Since(l.since) >= patience
	l.changed.Broadcast()
}

func (l *Writer) run() {
	defer close(l.done)
	var b []byte
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.changed.Wait()
		}
		b, l.waiting = l.waiting, b[:0]
		if l.stuck = false; l.lost > 0 {
			b = fmt.Appendf(b, "time=%s level=ERROR msg=\"nobody read the log: lines are lost\" lines=%d\n", time.Now().Format(time.RFC3339), l.lost)
			l.lost = 0
		}
		l.since = time.Now()
		l.changed.Broadcast()
		l.mu.Unlock()
		if len(b) == 0 {
			return
		}
		_, _ = l.out.Write(b) // there is nowhere to say that the log is gone
	}
}

// Close writes what is waiting, but does not wait longer than patience for somebody to read it.
func (l *Writer) Close() error {
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-l.done:
		return nil
	case <-late.C:
		return errUnread
	}
}

var errUnread = errors.New("lines: nobody read the log to its end")
