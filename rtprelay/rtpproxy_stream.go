package rtprelay

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// maxReply is more than a relay ever sends.
const maxReply = 8 << 10

var errNoReply = errors.New("rtprelay: connection closed without a reply")

// oneShot opens a connection for every command, as RTPProxy's unix: sockets want: it answers one and closes.
type oneShot struct {
	dial func(context.Context) (net.Conn, error)

	mu     sync.Mutex
	closed bool
	slots  chan struct{} // bounds connections: the relay's backlog is short
}

func newOneShot(dial func(context.Context) (net.Conn, error)) *oneShot {
	return &oneShot{dial: dial, slots: make(chan struct{}, 16)}
}

func (o *oneShot) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

func (o *oneShot) do(ctx context.Context, command string) (string, error) {
	o.mu.Lock()
	closed := o.closed
	o.mu.Unlock()
	if closed {
		return "", errClosed
	}
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		return "", unavailable(ctx.Err())
	}
	conn, err := o.dial(ctx)
	if err != nil {
		return "", unavailable(err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", unavailable(err)
	}
	reply, err := readOnce(conn, command[0] == 'I')
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", unavailable(err)
	}
	if len(reply) == 0 {
		return "", unavailable(errNoReply)
	}
	return strings.TrimRight(string(reply), "\r\n \t"), nil
}

// readOnce reads one line, or all lines until the other side closes.
func readOnce(conn net.Conn, many bool) ([]byte, error) {
	if many {
		return io.ReadAll(io.LimitReader(conn, maxReply))
	}
	line, err := bufio.NewReaderSize(conn, 2048).ReadSlice('\n') // our own relay and old ones may be late to close
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

// pipeline sends commands one after the other over a lasting connection and takes the replies in the same order.
type pipeline struct {
	dial func(context.Context) (net.Conn, error)

	lock   chan struct{} // one slot: guards link while dialing and writing; a channel, because waiting for it must obey ctx
	link   *link
	closed bool
}

// link is one connection. Who waits is in queue, in the order of the commands.
type link struct {
	conn net.Conn

	mu    sync.Mutex
	queue []chan datagramReply
	dead  bool
}

func newPipeline(dial func(context.Context) (net.Conn, error)) *pipeline {
	return &pipeline{dial: dial, lock: make(chan struct{}, 1)}
}

func (p *pipeline) close() {
	p.lock <- struct{}{}
	p.closed = true
	if p.link != nil {
		p.link.fail(errClosed)
	}
	<-p.lock
}

// do repeats a command once on a new connection when the old one broke: it may have been idle for so long that the other side had closed it, and
// every command may be given twice.
func (p *pipeline) do(ctx context.Context, command string) (string, error) {
	reply, fresh, err := p.try(ctx, command)
	if err != nil && !fresh && ctx.Err() == nil && !errors.Is(err, errClosed) {
		reply, _, err = p.try(ctx, command)
	}
	return reply, err
}

func (p *pipeline) try(ctx context.Context, command string) (reply string, fresh bool, err error) {
	wait, l, fresh, err := p.send(ctx, command)
	if err != nil {
		return "", fresh, err
	}
	select {
	case r := <-wait:
		return r.text, fresh, r.err
	case <-ctx.Done():
		// Replies come in order: with one missing, no later one can be told from it.
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.fail(unavailable(ctx.Err()))
		}
		return "", fresh, unavailable(ctx.Err())
	}
}

func (p *pipeline) send(ctx context.Context, command string) (chan datagramReply, *link, bool, error) {
	select {
	case p.lock <- struct{}{}:
		defer func() { <-p.lock }()
	case <-ctx.Done():
		return nil, nil, true, unavailable(ctx.Err())
	}
	if p.closed {
		return nil, nil, true, errClosed
	}
	fresh := false
	if p.link == nil || p.link.isDead() {
		conn, err := p.dial(ctx)
		if err != nil {
			return nil, nil, true, unavailable(err)
		}
		p.link, fresh = &link{conn: conn}, true
		go p.link.read()
	}
	l := p.link
	wait := l.enqueue()
	if t, ok := ctx.Deadline(); ok {
		_ = l.conn.SetWriteDeadline(t)
	}
	if _, err := io.WriteString(l.conn, command+"\n"); err != nil {
		l.fail(unavailable(err))
		return nil, l, fresh, unavailable(err)
	}
	return wait, l, fresh, nil
}

func (l *link) enqueue() chan datagramReply {
	wait := make(chan datagramReply, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		wait <- datagramReply{err: unavailable(errNoReply)}
		return wait
	}
	l.queue = append(l.queue, wait)
	return wait
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	_ = l.conn.Close()
	for _, wait := range l.queue {
		wait <- datagramReply{err: err}
	}
	l.queue = nil
}

func (l *link) read() {
	r := bufio.NewReaderSize(l.conn, maxReply)
	for {
		text, err := r.ReadSlice('\n')
		if err != nil {
			l.fail(unavailable(err))
			return
		}
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.mu.Unlock()
			l.fail(unavailable(errors.New("rtprelay: reply without a command")))
			return
		}
		wait := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		wait <- datagramReply{text: strings.TrimRight(string(text), "\r\n \t")}
	}
}
