package transaction

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A Layer holds the transactions of one server. All methods are safe for
// concurrent use. It owns no goroutine: it works on those that bring messages
// and on that of its timer wheel, which exists while something is due.
type Layer struct {
	timers                 Timers
	net                    network
	epoch                  time.Time
	seed                   maphash.Seed
	maxServers, maxClients int64
	closed                 atomic.Bool
	refused                atomic.Uint64

	// Behind 120 bytes, and the 8 that the runtime puts before, a cache line begins.
	shards [shards]shard
	wheel  wheel

	waiting          waiting
	servers, clients atomic.Int64
}

// New makes a layer. It starts nothing.
func New(c Config) *Layer { return newLayer(c, realNetwork{c.Transport}) }

func newLayer(c Config, n network) *Layer {
	l := &Layer{
		timers:     c.Timers.withDefaults(),
		net:        n,
		epoch:      time.Now(),
		seed:       maphash.MakeSeed(),
		maxServers: int64(or(c.Servers, 1_000_000)),
		maxClients: int64(or(c.Clients, 1_000_000)),
	}
	l.wheel.init(l.Now, n.hold, n.flush, n.alarm)
	return l
}

// Now is the present as the layer's machines and Timers see it.
func (l *Layer) Now() Instant { return Instant(time.Since(l.epoch)) }

// Timers are the values in use, defaults filled in.
func (l *Layer) Timers() Timers { return l.timers }

// Close ends every transaction silently and stops the wheel. Nothing can be
// opened afterwards.
func (l *Layer) Close() {
	if l.closed.Swap(true) {
		return
	}
	l.wheel.close()
	l.waiting.close()
	for i := range l.shards {
		s := &l.shards[i]
		s.Lock()
		clients, servers := s.clients.empty(), s.servers.empty()
		clients.all(func(c *Client) { c.m.end(0); c.user = nil })
		servers.all(func(t *Server) { t.m.end(0); t.user = nil })
		s.Unlock()
		clients.all(func(c *Client) { c.forget() })
		servers.all(func(t *Server) { t.forget() })
	}
	l.clients.Store(0)
	l.servers.Store(0)
}

// Stats sums up the counters.
func (l *Layer) Stats() Stats {
	st := Stats{
		Servers: int(l.servers.Load()),
		Clients: int(l.clients.Load()),
		Refused: l.refused.Load(),
	}
	for i := range l.shards {
		s := &l.shards[i]
		s.Lock()
		c := s.count
		st.ServersTotal += s.servers.total
		st.ClientsTotal += s.clients.total
		s.Unlock()
		st.Retransmitted += c.retransmitted
		st.Absorbed += c.absorbed
		st.Stray += c.stray
		st.Timeouts += c.timedOut
	}
	st.Retransmitted += l.waiting.retransmitted.Load()
	st.Timeouts += l.waiting.timedOut.Load()
	return st
}

// reserve takes one of max places.
//
//go:noinline
func (l *Layer) reserve(n *atomic.Int64, max int64) error {
	if l.closed.Load() {
		return ErrTerminated
	}
	if n.Add(1) > max {
		n.Add(-1)
		l.refused.Add(1)
		return ErrLimit
	}
	return nil
}

// A core is what client and server transactions have in common. Everything in
// it is guarded by the lock of the shard.
type core struct {
	entry entry
	layer *Layer
	armed Instant // the deadline the wheel knows, 0 for none
	m     machine
}

// rearm tells the wheel of the machine's deadline when it has changed.
func (c *core) rearm(owner expirer, now Instant) {
	d := c.m.deadline()
	if d == c.armed {
		return
	}
	c.armed = d
	if d == 0 {
		c.layer.wheel.stop(&c.entry)
		return
	}
	c.layer.wheel.set(&c.entry, owner, d, now)
}

// due reports whether the wheel's call is still wanted: the deadline may have
// moved while it was on its way.
func (c *core) due(now Instant) bool {
	d := c.m.deadline()
	if d == 0 || now < d {
		return false
	}
	c.armed = 0
	return true
}

func transportError(cause error) error { return fmt.Errorf("%w: %w", ErrTransport, cause) }

// Unreachable fails the client transaction that sent this datagram, whose bytes
// may be cut: its method and the branch of its topmost Via are looked up in it. Where none is found,
// or the bytes are a response, nothing happens: responses are sent again by the machines' rules.
func (l *Layer) Unreachable(sent []byte, _ transport.Addr, err error) {
	method, branch := scanRequest(sent)
	if method == "" || branch == "" {
		return
	}
	if method == string(sip.ACK) {
		method = string(sip.INVITE)
	}
	if c := l.findClient(branch, sip.Method(method)); c != nil {
		c.transportFailed(err)
	}
}
