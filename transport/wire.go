package transport

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// A wire is the raw connection below a conn, written without ever blocking the writer: straight to the socket when nothing
// is queued and the system takes it, else into a queue that a goroutine works off. The goroutine exists only while
// something is queued. For TLS it sits between crypto/tls and the socket, so encryption runs where Send is called.
type wire struct {
	net.Conn
	c *conn

	mu      sync.Mutex
	direct  syscall.RawConn // nil: the connection cannot be written without blocking
	q       []byte          // to be written, after what the goroutine has in hand
	spare   []byte
	inHand  int
	writing bool // the goroutine exists
	ending  bool // close when all is written
	failed  bool

	out []byte // of the direct write in progress
	n   int
	err error
	try func(fd uintptr) bool
}

func newWire(c *conn, nc net.Conn) *wire {
	w := &wire{Conn: nc, c: c}
	if sc, ok := nc.(syscall.Conn); ok && canTryWrite {
		if rc, err := sc.SyscallConn(); err == nil {
			w.direct = rc
			w.try = func(fd uintptr) bool {
				w.n, w.err = tryWrite(fd, w.out)
				return true // never wait
			}
		}
	}
	return w
}

// Write never blocks and takes everything; conn has checked the bound of the queue. Errors show in the conn.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		return 0, ErrClosed
	}
	rest := b
	if !w.writing && w.direct != nil {
		n, err := w.writeNow(b)
		if err != nil {
			w.fail(err)
			return n, err
		}
		rest = b[n:]
	}
	if len(rest) == 0 {
		return len(b), nil
	}
	w.q = append(w.q, rest...)
	if !w.writing {
		w.writing = true
		w.c.l.running.Go(w.drain) // the connection's own goroutine is still counted
	}
	return len(b), nil
}

func (w *wire) writeNow(b []byte) (int, error) {
	w.out, w.n, w.err = b, 0, nil
	err := w.direct.Write(w.try)
	w.out = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

// fail ends the connection; elsewhere, because the caller may hold the locks of conn and crypto/tls.
func (w *wire) fail(err error) {
	w.failed = true
	w.q = nil
	if !errors.Is(err, net.ErrClosed) {
		c := w.c
		c.l.running.Go(func() { c.fail(err) })
	}
}

// drain writes the queue until it is empty.
func (w *wire) drain() {
	for {
		w.mu.Lock()
		if len(w.q) == 0 || w.failed {
			w.writing = false
			ending := w.ending
			w.mu.Unlock()
			if ending {
				w.end()
			}
			return
		}
		b := w.q
		w.q, w.spare, w.inHand = w.spare[:0], nil, len(b)
		w.mu.Unlock()
		_, err := w.Conn.Write(b)
		w.mu.Lock()
		w.inHand = 0
		if cap(b) <= 64<<10 {
			w.spare = b[:0]
		}
		if err != nil {
			w.fail(err)
		}
		w.mu.Unlock()
	}
}

// queued is the number of bytes not yet given to the system.
func (w *wire) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.q) + w.inHand
}

// finish closes the sending side when everything queued is written, or when linger has passed. The reader closes the rest.
func (w *wire) finish(linger time.Duration) {
	deadline := time.Now().Add(linger)
	_ = w.Conn.SetDeadline(deadline)
	w.mu.Lock()
	w.ending = true
	writing := w.writing
	w.mu.Unlock()
	if !writing {
		w.end()
	}
}

// end sends FIN where there is such a thing, so that the peer can read our last words before the connection is reset.
func (w *wire) end() {
	if h, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
		return
	}
	_ = w.Conn.Close()
}
