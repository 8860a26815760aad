package rtprelay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// unavailable wraps what went wrong on the way.
func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// datagrams carries requests that are repeated until a reply with their cookie comes: the framing of RTPProxy over UDP and of ng.
// The relay caches replies under the cookie alone, for all its clients and for half a minute, so cookies must differ from those of
// every other client and of our own former lives: 64 random bits and a counter.
type datagrams struct {
	dial   func(context.Context) (net.Conn, error)
	retry  time.Duration
	limit  int  // longest reply
	stream bool // over TCP: nothing is repeated, and a reply that does not come condemns the connection

	repeated, late func()

	mu      sync.Mutex
	conn    net.Conn
	dialing chan struct{}
	waiting map[string]chan datagramReply
	prefix  string
	count   uint64
	closed  bool
}

type datagramReply struct {
	text string
	err  error
}

func newDatagrams(dial func(context.Context) (net.Conn, error), retry time.Duration, limit int) *datagrams {
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	return &datagrams{dial: dial, retry: retry, limit: limit, waiting: map[string]chan datagramReply{}, prefix: hex.EncodeToString(r[:]) + "_"}
}

func (u *datagrams) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	u.drop(u.conn, errClosed)
}

// do sends body and waits for the reply, until ctx ends.
func (u *datagrams) do(ctx context.Context, body string) (string, error) {
	conn, err := u.connection(ctx)
	if err != nil {
		return "", err
	}
	cookie, reply := u.register()
	defer u.forget(cookie)
	message := make([]byte, 0, len(cookie)+1+len(body))
	message = append(append(append(message, cookie...), ' '), body...)
	if t, ok := ctx.Deadline(); ok && u.stream {
		_ = conn.SetWriteDeadline(t)
	}
	if err := u.send(conn, message); err != nil {
		return "", err
	}
	wait := u.retry
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case r := <-reply:
			return r.text, r.err
		case <-ctx.Done():
			if u.stream && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				u.condemn(conn)
			}
			return "", unavailable(ctx.Err())
		case <-timer.C:
			if u.stream {
				continue
			}
			u.repeated()
			if err := u.send(conn, message); err != nil {
				return "", err
			}
			wait *= 2
			timer.Reset(wait)
		}
	}
}

func (u *datagrams) send(conn net.Conn, message []byte) error {
	_, err := conn.Write(message)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EMSGSIZE):
		return &RefusedError{Code: "input", Reason: "longer than a datagram"}
	case errors.Is(err, syscall.ECONNREFUSED): // reported for an earlier datagram; this one has not been sent
		if _, err = conn.Write(message); err == nil {
			return nil
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !errors.Is(err, syscall.ECONNREFUSED) {
		u.drop(conn, unavailable(err))
	}
	return unavailable(err)
}

func (u *datagrams) condemn(conn net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.drop(conn, unavailable(errNoReply))
}

func (u *datagrams) register() (string, chan datagramReply) {
	reply := make(chan datagramReply, 1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	cookie := u.prefix + strconv.FormatUint(u.count, 36)
	u.waiting[cookie] = reply
	return cookie, reply
}

func (u *datagrams) forget(cookie string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, cookie)
}

// connection dials when there is none; others wait for that.
func (u *datagrams) connection(ctx context.Context) (net.Conn, error) {
	for {
		u.mu.Lock()
		if u.closed {
			u.mu.Unlock()
			return nil, errClosed
		}
		if u.conn != nil {
			conn := u.conn
			u.mu.Unlock()
			return conn, nil
		}
		wait := u.dialing
		if wait == nil {
			done := make(chan struct{})
			u.dialing = done
			u.mu.Unlock()
			conn, err := u.dial(ctx)
			u.mu.Lock()
			u.dialing = nil
			if err == nil && u.closed {
				_ = conn.Close()
				err = errClosed
			}
			if err == nil {
				u.conn = conn
				go u.read(conn)
			}
			u.mu.Unlock()
			close(done)
			if err != nil {
				return nil, unavailable(err)
			}
			return conn, nil
		}
		u.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
}

// drop forgets conn and fails whoever waits; u.mu is held.
func (u *datagrams) drop(conn net.Conn, err error) {
	if conn == nil || conn != u.conn {
		return
	}
	u.conn = nil
	_ = conn.Close()
	u.failAll(err)
}

func (u *datagrams) failAll(err error) {
	for cookie, reply := range u.waiting {
		delete(u.waiting, cookie)
		reply <- datagramReply{err: err}
	}
}

// read hands replies to who waits for their cookie. "Connection refused" means that nobody listens over there: all who wait learn it
// at once, and the socket lives on.
func (u *datagrams) read(conn net.Conn) {
	buf := make([]byte, u.limit)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			u.mu.Lock()
			refused := errors.Is(err, syscall.ECONNREFUSED) && conn == u.conn
			if refused {
				u.failAll(unavailable(err))
			} else {
				u.drop(conn, unavailable(err))
			}
			u.mu.Unlock()
			if refused {
				continue
			}
			return
		}
		u.deliver(string(buf[:n]))
	}
}

func (u *datagrams) deliver(datagram string) {
	cookie, text, _ := strings.Cut(datagram, " ")
	u.mu.Lock()
	reply, ok := u.waiting[cookie]
	delete(u.waiting, cookie)
	u.mu.Unlock()
	if !ok {
		u.late()
		return
	}
	reply <- datagramReply{text: text}
}
