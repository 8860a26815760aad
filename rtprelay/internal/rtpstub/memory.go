package rtpstub

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Memory is a datagram connection inside the process, for tests in virtual time. Every written datagram goes to Send; what is given to
// Deliver is read.
type Memory struct {
	Send func(m *Memory, datagram string)

	once sync.Once
	in   chan string
	done chan struct{}
}

// NewMemory makes one.
func NewMemory(send func(m *Memory, datagram string)) *Memory {
	return &Memory{Send: send, in: make(chan string, 1000), done: make(chan struct{})}
}

// Deliver makes datagram readable.
func (m *Memory) Deliver(datagram string) {
	select {
	case m.in <- datagram:
	case <-m.done:
	}
}

func (m *Memory) Read(b []byte) (int, error) {
	select {
	case s := <-m.in:
		return copy(b, s), nil
	case <-m.done:
		return 0, net.ErrClosed
	}
}

func (m *Memory) Write(b []byte) (int, error) {
	select {
	case <-m.done:
		return 0, io.ErrClosedPipe
	default:
	}
	m.Send(m, string(b))
	return len(b), nil
}

// Close ends Read.
func (m *Memory) Close() error { m.once.Do(func() { close(m.done) }); return nil }

// LocalAddr is of no use.
func (m *Memory) LocalAddr() net.Addr { return &net.UDPAddr{} }

// RemoteAddr is of no use.
func (m *Memory) RemoteAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline is not supported.
func (m *Memory) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is not supported.
func (m *Memory) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is not supported.
func (m *Memory) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
