package rtprelay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Control lets others drive an Embedded over the RTPProxy control protocol: Kamailio's rtpproxy module, an RTPProxy of this package in
// another process. Commands V, U, L, D, P, S, R, N, C, Q, I, G and X are served as RTPProxy 3.2 does, with E codes; after && of a U, L or Q S (ttl, tos), T
// (ttl before 3.2), D and, after U, L. The protocol has no authentication.
//
// Two sub-commands get E3. M is for modules that an RTPProxy has been built and configured with (DTMF, ICE, DTLS); one without them answers the same. C, which plays one
// session into another, is of 2026 (20260309, to which VF says 0) and sent by no client known. Kamailio's module sends no && at all.
//
// It departs from RTPProxy where that is unsafe: a port that learned its party stays with it, bridged sessions are symmetric too,
// and From bounds who may command. Sessions belong to Control alone: calls of Engine are not seen by it.
type Control struct {
	Engine *Embedded // required

	// Listen are the control sockets: "udp:127.0.0.1:22222", "udp6:[::1]:22222", "tcp:..." and "cunix:PATH" for many commands a connection, "unix:PATH"
	// for one; empty: "udp:127.0.0.1:22222".
	Listen []string
	From   []netip.Prefix // who may command over UDP and TCP; empty: loopback only
	// Notify are the sockets ("unix:PATH" or "tcp:HOST:PORT") that time-outs may be told to; a U that names another one
	// is served without. "tcp:%%CC_SELF%%:PORT" is the host that commands. Empty: a U that names one is refused with E75, as by RTPProxy without -n.
	Notify []string
	Strict bool // learn parties only from the host that the command named, not from anywhere

	mu       sync.Mutex // one command at a time
	peer     netip.Addr // who commands
	replies  replyCache
	notifier notifier
	closers  []interface{ Close() error }
	addrs    []net.Addr
	draining bool
	count    controlCounters
	wg       sync.WaitGroup
	closed   bool
}

type controlCounters struct{ received, repeated, succeeded, failed, refused uint64 }

// maxControlLine is RTPProxy's limit.
const maxControlLine = 8192

// Start listens and serves until Close. An error leaves nothing open.
func (c *Control) Start() error {
	if c.Engine == nil {
		return errors.New("rtprelay: Control without Engine")
	}
	if err := c.Engine.Check(); err != nil {
		return err
	}
	listen := c.Listen
	if len(listen) == 0 {
		listen = []string{"udp:127.0.0.1:22222"}
	}
	for _, l := range listen {
		if err := c.listen(l); err != nil {
			_ = c.Close()
			return fmt.Errorf("rtprelay: control socket %s: %w", l, err)
		}
	}
	return nil
}

// Addrs are those listened on, in the order of Listen.
func (c *Control) Addrs() []net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]net.Addr(nil), c.addrs...)
}

// Drain refuses new sessions with E99, so that others take them; those that exist go on.
func (c *Control) Drain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
}

// Close stops listening and waits for its goroutines. The sessions stay with the Engine.
func (c *Control) Close() error {
	c.mu.Lock()
	c.closed = true
	closers := c.closers
	c.closers = nil
	c.mu.Unlock()
	for _, l := range closers {
		_ = l.Close()
	}
	c.notifier.close()
	c.wg.Wait()
	return nil
}

// datagram answers one UDP packet.
func (c *Control) datagram(b []byte, from netip.Addr, now time.Time) []byte {
	cookie, line := cutWord(string(b))
	if cookie == "" {
		return []byte("E5\n")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply, ok := c.replies.find(cookie, now); ok {
		c.count.repeated++
		return reply
	}
	c.peer = from
	reply := append(append([]byte(cookie), ' '), c.run(line)...)
	reply = append(reply, '\n')
	c.replies.keep(cookie, reply, now)
	return reply
}

// command answers one line of a stream, without its end.
func (c *Control) command(line string, from netip.Addr) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer = from
	return append([]byte(c.run(line)), '\n')
}

// run executes one command line; c.mu is held.
func (c *Control) run(line string) string {
	c.count.received++
	cmd, code := parseControl(line)
	var reply string
	if code == codeNone {
		reply, code = c.execute(cmd)
	}
	if code != codeNone {
		c.count.failed++
		return code.String()
	}
	c.count.succeeded++
	return reply
}
