package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client registers users over one socket, some at once, and keeps track of what was acknowledged.
type client struct {
	*wire
	acked  []atomic.Bool
	count  atomic.Int64
	passes int // over all users
}

func connect(t *testing.T, proto, server string, users int) *client {
	return &client{wire: wired(t, proto, server), acked: make([]atomic.Bool, users)}
}

func (c *client) sendFor(method string, user int, contact string) error {
	name := "sip:u" + strconv.Itoa(user) + "@example.com"
	_, err := fmt.Fprintf(c.conn, "%s sip:example.com SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%d-%d-%s\r\nFrom: <%s>;tag=%d\r\nTo: <%s>\r\nCall-ID: %d\r\nCSeq: %d %s\r\nMax-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n",
		method, strings.ToUpper(c.proto), c.conn.LocalAddr(), c.passes, user, c.conn.LocalAddr().String()[10:], name, user, name, user, c.passes, method, contact)
	return err
}

// hear notes the answers until the socket closes or nothing comes for a while.
func (c *client) hear(note func(user int, text string)) {
	for {
		text, err := c.next(2 * time.Second)
		if err != nil {
			return
		}
		_, id, _ := strings.Cut(text, "Call-ID: ")
		id, _, _ = strings.Cut(id, "\r\n")
		if user, err := strconv.Atoi(id); err == nil && strings.HasPrefix(text, "SIP/2.0 200 ") {
			note(user, text)
		}
	}
}

// registerUntil registers all users, and runs then when so many were acknowledged.
func (c *client) registerUntil(enough int64, then func()) {
	var stop atomic.Bool
	contact := func(u int) string { return fmt.Sprintf("Contact: <sip:u%d@127.0.0.7:5071>\r\nExpires: 3600\r\n", u) }
	c.each(&stop, contact, func(u int, _ string) {
		c.acked[u].Store(true)
		if c.count.Add(1) == enough {
			stop.Store(true)
			then()
		}
	})
}

// found asks for the bindings of every user and gives those that have one.
func (c *client) found() []atomic.Bool {
	found := make([]atomic.Bool, len(c.acked))
	answered := 0
	c.each(new(atomic.Bool), func(int) string { return "" }, func(u int, text string) {
		answered++
		found[u].Store(strings.Contains(text, fmt.Sprintf("<sip:u%d@127.0.0.7:5071>", u)))
	})
	require.Equal(c, len(found), answered, "no answer")
	return found
}

// each sends a REGISTER for every user and notes the 200s. As phones do, it sends again what was lost or refused for now, until stop is set.
func (c *client) each(stop *atomic.Bool, contact func(user int) string, note func(user int, text string)) {
	answered := make([]atomic.Bool, len(c.acked))
	left := len(answered)
	for range 20 {
		c.pass(answered, contact, func(u int, text string) {
			left--
			note(u, text)
		})
		if left == 0 || stop.Load() {
			return
		}
	}
}

// pass sends one REGISTER for everybody not yet answered, and ends when nothing comes any more.
func (c *client) pass(answered []atomic.Bool, contact func(user int) string, note func(user int, text string)) {
	c.passes++
	heard := make(chan struct{})
	room := make(chan struct{}, 100) // in flight
	go func() {
		defer close(heard)
		c.hear(func(user int, text string) {
			if !answered[user].Swap(true) {
				note(user, text)
			}
			select {
			case <-room:
			default:
			}
		})
	}()
	for u := range answered {
		if answered[u].Load() {
			continue
		}
		select {
		case room <- struct{}{}:
		case <-heard:
			return
		}
		if c.sendFor("REGISTER", u, contact(u)) != nil {
			break // nobody listens any more
		}
	}
	<-heard
}

// What was acknowledged outlives kill -9.
func TestKillInTheMiddle(t *testing.T) {
	for proto, users := range map[string]int{"udp": 100_000, "tcp": 20_000, "tls": 20_000} {
		t.Run(proto, func(t *testing.T) {
			if testing.Short() {
				users = 10_000
			}
			killInTheMiddle(t, proto, users)
		})
	}
}

// listening are the flags for one socket of a transport.
func listening(t *testing.T, proto, addr string) []string {
	args := []string{"-listen", proto + ":" + addr, "-domain", "example.com"}
	if proto == "tls" {
		cert, key := certificate(t, t.TempDir(), "a")
		args = append(args, "-cert", cert, "-key", key)
	}
	return args
}

func killInTheMiddle(t *testing.T, proto string, users int) {
	data := t.TempDir()
	args := append(listening(t, proto, "127.0.0.1:0"), "-data", data)
	p, addr := start(t, args...)
	c := connect(t, proto, addr[0], users)
	c.registerUntil(int64(users/2), p.kill)
	require.NotZero(t, c.count.Load())
	<-p.done
	require.False(t, p.cmd.ProcessState.Success())
	acked := c.count.Load()
	require.GreaterOrEqual(t, acked, int64(users/2))
	require.Less(t, acked, int64(users), "killed too late to tell anything")

	_, addr = start(t, args...)
	found := connect(t, proto, addr[0], users).found()
	for u := range found {
		require.True(t, !c.acked[u].Load() || found[u].Load(), "user %d was acknowledged and is lost", u)
	}
	t.Logf("%d of %d acknowledged when killed, all there", acked, users)
}

// A second process on the same directory says so.
func TestOneProcessADirectory(t *testing.T) {
	data := t.TempDir()
	start(t, "-listen", "udp:127.0.0.1:0", "-domain", "example.com", "-data", data)
	var out strings.Builder
	err := run([]string{"-listen", "udp:127.0.0.1:0", "-domain", "example.com", "-data", data}, &out)
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, run([]string{"-listen", "udp:127.0.0.1:0", "-domain", "example.com", "-data", data, "-check"}, &out), "a check disturbs nobody")
}

// Two nodes share a Redis: what registers at one is found at the other, and by the next process.
func TestRedis(t *testing.T) {
	need(t, "redis-server")
	const users = 500
	port := freePort(t)
	launch(t, exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no")).
		await("Ready to accept connections", 1)
	keys := filepath.Join(t.TempDir(), "keys")
	args := []string{"-listen", "udp:127.0.0.1:0", "-domain", "example.com", "-store", "redis://127.0.0.1:" + port + "/0", "-key-file", keys}
	_, one := start(t, args...)
	_, two := start(t, args...)
	c := connect(t, "udp", one[0], users)
	c.registerUntil(users+1, nil)
	require.EqualValues(t, users, c.count.Load())
	found := connect(t, "udp", two[0], users).found()
	for u := range found {
		require.True(t, found[u].Load(), "user %d", u)
	}
}

// freePort is a TCP port that was free a moment ago.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
