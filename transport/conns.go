package transport

import (
	"net/netip"
	"sync"
	"time"
)

// minIdle: a connection with younger traffic is not closed to make room for another.
const minIdle = 5 * time.Second

// conns is the table of connections, by protocol and remote address. Names count for TLS only, where they were verified.
type conns struct {
	l     *Layer
	mu    sync.Mutex
	byKey map[Addr]*conn // further connections with the same key hang on conn.next
	total int
	perIP map[netip.Addr]int // accepted
}

func (t *conns) init(l *Layer) {
	t.l = l
	t.byKey = make(map[Addr]*conn)
	t.perIP = make(map[netip.Addr]int)
}

func connKey(a Addr) Addr {
	if !a.Proto.Secure() {
		a.Name = ""
	}
	return a
}

// admit adds c to the table, closing the longest idle one when a limit is reached; false when there is none.
func (t *conns) admit(c *conn) bool {
	t.mu.Lock()
	victim, ok := t.makeRoom(c)
	if ok {
		t.add(c)
	}
	t.mu.Unlock()
	t.expel(victim)
	return ok
}

// expel closes a connection that makeRoom took out of the table.
func (t *conns) expel(c *conn) {
	if c == nil {
		return
	}
	t.l.stats.connsEvicted.Add(1)
	if !t.l.spawn(func() { c.fail(ErrIdle) }) {
		c.fail(ErrIdle)
	}
}

func (t *conns) add(c *conn) {
	k := connKey(c.remote)
	c.next = t.byKey[k]
	t.byKey[k] = c
	t.total++
	t.l.stats.connsOpen.Add(1)
	if c.inbound {
		t.perIP[k.AddrPort.Addr()]++
	}
}

// makeRoom makes sure that c may be added, and gives the connection that has to go for it.
func (t *conns) makeRoom(c *conn) (victim *conn, ok bool) {
	ip := c.remote.AddrPort.Addr()
	switch {
	case c.inbound && t.perIP[ip] >= t.l.cfg.ConnectionsPerIP:
		victim = t.idlest(func(o *conn) bool { return o.inbound && o.remote.AddrPort.Addr() == ip })
	case t.total >= t.l.cfg.Connections:
		victim = t.idlest(func(*conn) bool { return true })
	default:
		return nil, true
	}
	if victim == nil {
		return nil, false
	}
	t.drop(victim)
	return victim, true
}

// relieve closes the longest idle connection where the system allows fewer descriptors than Config.Connections; false when all had traffic lately.
func (t *conns) relieve() bool {
	t.mu.Lock()
	victim := t.idlest(func(*conn) bool { return true })
	if victim != nil {
		t.drop(victim)
	}
	t.mu.Unlock()
	t.expel(victim)
	return victim != nil
}

// idlest is the connection without traffic for longest, one that never brought a message before any that did: who fills the table with connections that say
// nothing closes his own, and not those of phones. It is nil when all had traffic lately.
func (t *conns) idlest(among func(*conn) bool) *conn {
	var known, unknown *conn
	for _, c := range t.byKey {
		for ; c != nil; c = c.next {
			switch {
			case !among(c):
			case c.known.Load():
				known = older(known, c)
			default:
				unknown = older(unknown, c)
			}
		}
	}
	oldest := unknown
	if oldest == nil {
		oldest = known
	}
	if oldest == nil || oldest.idle() < minIdle {
		return nil
	}
	return oldest
}

// older is the one of the two without traffic for longer; a may be nil.
func older(a, b *conn) *conn {
	if a == nil || b.used.Load() < a.used.Load() {
		return b
	}
	return a
}

func (t *conns) remove(c *conn) {
	t.mu.Lock()
	t.drop(c)
	t.mu.Unlock()
}

// drop takes c out of the table; nothing when it is not there.
func (t *conns) drop(c *conn) {
	k := connKey(c.remote)
	head := t.byKey[k]
	switch {
	case head == c && c.next == nil:
		delete(t.byKey, k)
	case head == c:
		t.byKey[k] = c.next
	default:
		for head != nil && head.next != c {
			head = head.next
		}
		if head == nil {
			return
		}
		head.next = c.next
	}
	c.next = nil
	t.total--
	t.l.stats.connsOpen.Add(-1)
	if c.inbound {
		ip := k.AddrPort.Addr()
		if t.perIP[ip]--; t.perIP[ip] == 0 {
			delete(t.perIP, ip)
		}
	}
}

// find gives the living connection to remote; a zero local means any.
func (t *conns) find(local, remote Addr) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := t.byKey[connKey(remote)]; c != nil; c = c.next {
		if (local.IsZero() || local.AddrPort == c.local.AddrPort) && c.alive() {
			return c
		}
	}
	return nil
}

// flowTo gives the open connection to an address, or a new one that the first Send will dial.
func (t *conns) flowTo(to Addr, from Flow) (Flow, error) {
	st := stackOf(to.Proto)
	if st == nil {
		return Flow{}, ErrNotSupported
	}
	if e := from.end; e != nil && connKey(e.remote) == connKey(to) && e.alive() {
		return Flow{end: e}, nil
	}
	if c := t.find(Addr{}, to); c != nil {
		return c.flow(), nil
	}
	c := t.l.outbound(to, st, from)
	t.mu.Lock()
	for o := t.byKey[connKey(to)]; o != nil; o = o.next {
		if o.alive() { // somebody was faster
			t.mu.Unlock()
			return o.flow(), nil
		}
	}
	victim, ok := t.makeRoom(c)
	if ok {
		t.add(c)
	}
	t.mu.Unlock()
	t.expel(victim)
	if !ok {
		t.l.stats.connsRefused.Add(1)
		return Flow{}, ErrTooMany
	}
	c.reapUnused()
	return c.flow(), nil
}

// outbound makes a connection that is not dialled yet.
func (l *Layer) outbound(to Addr, st stack, from Flow) *conn {
	c := &conn{l: l, stack: st}
	c.known.Store(true)
	c.link, c.remote, c.local.Proto = c, to, to.Proto
	c.touch()
	ip := to.AddrPort.Addr()
	c.ln = l.pick(to.Proto, ip, from)
	if c.ln == nil {
		c.ln = l.pick(0, ip, from) // dialled without listening: under the address of another listener
	}
	if c.ln == nil {
		c.local.AddrPort = netip.AddrPortFrom(l.routes.source(ip).addr(), 0)
		return c
	}
	c.local.AddrPort = c.ln.addr.AddrPort
	if c.ln.wildcard {
		c.local.AddrPort = netip.AddrPortFrom(l.source(c.ln, ip, from).addr(), c.ln.addr.AddrPort.Port())
	}
	if a := c.local.AddrPort.Addr(); a.IsValid() && a.IsLoopback() == ip.IsLoopback() {
		c.bind = a
	}
	return c
}

// reapUnused closes a connection that got no Send.
func (c *conn) reapUnused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != unused {
		return
	}
	c.reap = time.AfterFunc(c.l.cfg.Idle, func() {
		if c.mu.Lock(); c.state != unused {
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		_ = c.close() // nobody waits for it
	})
}

func (t *conns) closeAll() {
	t.mu.Lock()
	all := make([]*conn, 0, t.total)
	for _, c := range t.byKey {
		for ; c != nil; c = c.next {
			all = append(all, c)
		}
	}
	t.mu.Unlock()
	for _, c := range all {
		c.shutdown()
	}
}
