package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// A Layer owns the sockets of one server. Its methods are safe for concurrent use after Listen.
type Layer struct {
	// What every message looks at lies together, and apart from what every message writes.
	cfg    Config
	only   *listener // the one for UDP, unless there are several or it is a wildcard: then there is nothing to choose. Fixed by Listen
	closed atomic.Bool
	watch  watchdog

	held  atomic.Int32 // goroutines inside a batch
	stats counters

	net     Net
	log     *slog.Logger
	base    time.Time // of the connections' idle clocks
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // every goroutine but those that lost their reader

	// Fixed by Listen.
	listeners []*listener
	udp       []*udpSock
	plain     bool                  // all listeners are bound to an IPv4 address of their own and advertise nothing else
	hosts     map[netip.Addr]string // addresses of this machine, and each as sent-by
	subnets   []netip.Prefix
	routes    routes
	scratch   sync.Pool // *[]byte

	conns    conns
	resolver resolver

	mu      sync.Mutex
	started bool
}

// New makes a layer. It opens nothing.
func New(c Config) *Layer {
	c = c.withDefaults()
	l := &Layer{cfg: c, net: c.Net, log: c.Logger, base: time.Now()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.watch = watchdog{l: l, after: c.StallAfter, base: l.base}
	l.scratch.New = func() any { return new([]byte) }
	l.conns.init(l)
	l.resolver.init(l)
	l.routes.init(l)
	return l
}

func uitoa(n uint16) string { return strconv.Itoa(int(n)) }

func (l *Layer) isClosed() bool { return l.closed.Load() }

func (l *Layer) sockets() []*udpSock { return l.udp }

// Listen opens every socket or none. It may be called once, before Start.
func (l *Layer) Listen(ctx context.Context, specs ...string) error {
	l.interfaces()
	for _, spec := range specs {
		if err := l.listen(ctx, spec); err != nil {
			l.closeListeners()
			l.listeners, l.udp = nil, nil
			return fmt.Errorf("transport: listen %q: %w", spec, err)
		}
	}
	return nil
}

func (l *Layer) listen(ctx context.Context, spec string) error {
	a, adv, err := ParseListen(spec)
	if err != nil {
		return err
	}
	ip := a.AddrPort.Addr()
	ln := &listener{l: l, index: len(l.listeners), addr: a, wildcard: ip.IsUnspecified()}
	switch a.Proto {
	case UDP:
		err = ln.listenUDP(ctx)
	case TCP, TLS:
		err = ln.listenStream(ctx)
	default:
		err = fmt.Errorf("%w: %s", ErrNotSupported, a.Proto)
	}
	if err != nil {
		return err
	}
	ln.sayAs(adv)
	l.listeners = append(l.listeners, ln)
	l.udp = append(l.udp, ln.socks...)
	l.noteOnly(ln)
	l.plain = (l.plain || len(l.listeners) == 1) && !ln.wildcard && !ln.advertises && ln.addr.AddrPort.Addr().Is4()
	return nil
}

// sayAs notes what to write as sent-by.
func (ln *listener) sayAs(advertised string) {
	if ln.advertises = advertised != ""; ln.advertises {
		ln.host, ln.port, _ = parseAdvertised(advertised)
	} else if !ln.wildcard {
		ln.host = hostString(ln.addr.AddrPort.Addr())
	}
	if ln.port == 0 {
		ln.port = ln.addr.AddrPort.Port()
	}
}

// noteOnly keeps only up to date.
func (l *Layer) noteOnly(ln *listener) {
	switch {
	case len(ln.socks) == 0:
	case len(l.udp) == len(ln.socks) && !ln.wildcard:
		l.only = ln
	default:
		l.only = nil
	}
}

// bound notes the port the system chose.
func (ln *listener) bound(a net.Addr) {
	if got, ok := addrPortOf(a); ok {
		ln.addr.AddrPort = netip.AddrPortFrom(ln.addr.AddrPort.Addr(), got.Port())
	}
}

func addrPortOf(a net.Addr) (netip.AddrPort, bool) {
	var ap netip.AddrPort
	switch a := a.(type) {
	case nil:
		return ap, false
	case interface{ AddrPort() netip.AddrPort }:
		ap = a.AddrPort()
	default:
		var err error
		if ap, err = netip.ParseAddrPort(a.String()); err != nil {
			return ap, false
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}

func (l *Layer) closeListeners() {
	for _, ln := range l.listeners {
		ln.close()
	}
}

func (ln *listener) close() {
	for _, k := range ln.socks {
		_ = k.io.close()
	}
	if ln.accept != nil {
		_ = ln.accept.Close()
	}
}

// Start begins reading.
func (l *Layer) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.isClosed() {
		return
	}
	l.started = true
	for _, k := range l.udp {
		l.running.Add(1)
		go l.own(&k.guard)
	}
	for _, ln := range l.listeners {
		if ln.accept != nil {
			l.running.Add(1)
			go ln.acceptLoop()
		}
	}
}

// spawn runs f on a goroutine that Close waits for; false when the layer is closed.
func (l *Layer) spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed() {
		return false
	}
	l.running.Go(f)
	return true
}

// Close closes sockets and connections, after what connections still have queued (for at most a second), and waits for
// the goroutines to end. It must not be called from a Handler.
func (l *Layer) Close() error {
	l.mu.Lock()
	first := l.closed.CompareAndSwap(false, true)
	l.mu.Unlock()
	if first {
		l.flush()
		l.cancel()
		l.closeListeners()
		l.conns.closeAll()
		l.watch.close()
	}
	l.running.Wait()
	return nil
}

// Addrs are the bound addresses, ports filled in, in the order of Listen.
func (l *Layer) Addrs() []Addr {
	out := make([]Addr, len(l.listeners))
	for i, ln := range l.listeners {
		out[i] = ln.addr
	}
	return out
}

// Advertised are the sent-by strings beside Addrs, "host:port"; a wildcard listener without an advertised address gives
// the wildcard address, what it writes into messages depends on the flow.
func (l *Layer) Advertised() []string {
	out := make([]string, len(l.listeners))
	for i, ln := range l.listeners {
		out[i] = ln.advertised()
	}
	return out
}

// Hold and Flush bracket work that sends much: UDP datagrams queue until the last Flush, or until a reader ends its
// batch. Readers do it around each batch by themselves. They nest, may be used from any goroutine and are cheap.
func (l *Layer) Hold() { l.held.Add(1) }

// Flush ends what Hold began.
func (l *Layer) Flush() {
	if l.held.Add(-1) == 0 {
		l.flush()
	}
}

// release ends a reader's batch: what it caused leaves now, whoever else is in a batch.
func (l *Layer) release() {
	l.held.Add(-1)
	l.flush()
}

func (l *Layer) flush() {
	for _, k := range l.udp {
		k.flush()
	}
}

// FlowTo gives a flow to an address: the UDP socket fit for it, an open connection, or a new one whose dialling starts with the first Send and is shared by all
// who ask meanwhile. from prefers the listener of that flow's local side when it fits (zero: any). It never blocks.
// Errors: ErrNoAddress when no UDP listener fits, ErrNotSupported, ErrTooMany, ErrClosed.
func (l *Layer) FlowTo(to Addr, from Flow) (Flow, error) {
	if l.isClosed() {
		return Flow{}, ErrClosed
	}
	to.AddrPort = netip.AddrPortFrom(to.AddrPort.Addr().Unmap(), to.AddrPort.Port())
	if !to.AddrPort.IsValid() || to.AddrPort.Port() == 0 {
		return Flow{}, ErrNoAddress
	}
	if to.Proto != UDP {
		return l.conns.flowTo(to, from)
	}
	ip := to.AddrPort.Addr()
	if ln := l.only; ln != nil && ln.sameFamily(ip) {
		return Flow{end: ln.sock(from), remote: to.AddrPort}, nil
	}
	ln := l.pick(UDP, ip, from)
	if ln == nil {
		return Flow{}, ErrNoAddress
	}
	return Flow{end: ln.sock(from), remote: to.AddrPort, local: l.source(ln, ip, from)}, nil
}

// sock prefers the very socket of from, so that one of several readers keeps a call.
func (ln *listener) sock(from Flow) *end {
	if from.Proto() == UDP && from.end.ln == ln {
		return from.end
	}
	return &ln.socks[0].end
}

// FindFlow finds the existing flow of a stored (local, remote) pair, as Flow.Local and Flow.Remote gave them; false when
// the connection is gone or local is not one of ours. A zero local means any.
func (l *Layer) FindFlow(local, remote Addr) (Flow, bool) {
	if l.isClosed() || !remote.AddrPort.IsValid() {
		return Flow{}, false
	}
	if remote.Proto != UDP {
		c := l.conns.find(local, remote)
		if c == nil {
			return Flow{}, false
		}
		return c.flow(), true
	}
	if local.IsZero() {
		f, err := l.FlowTo(remote, Flow{})
		return f, err == nil
	}
	for _, ln := range l.listeners {
		if ln.addr.Proto != UDP || ln.addr.AddrPort.Port() != local.AddrPort.Port() || !ln.covers(local.AddrPort.Addr()) {
			continue
		}
		f := Flow{end: &ln.socks[0].end, remote: remote.AddrPort}
		if ln.wildcard {
			f.local = sourceOf(local.AddrPort.Addr())
		}
		return f, true
	}
	return Flow{}, false
}

// tap reports a message to Config.Tap.
func (l *Layer) tap(f Flow, out bool, data []byte) {
	l.cfg.Tap(Packet{Time: time.Now(), Out: out, Local: f.Local(), Remote: f.Remote(), Data: data})
}

// message counts and adjusts a message that was read, and hands it up. It reports whether the reader still owns its socket.
func (t *turn) message(m sip.Message, f Flow, raw []byte, src *sources) bool {
	l := t.l
	l.stats.received.Add(1)
	if l.cfg.Tap != nil {
		l.tap(f, false, raw)
	}
	if q, ok := m.(*sip.Request); ok {
		from := f.remote
		if !from.IsValid() {
			from = f.Remote().AddrPort // of a connection
		}
		markSource(q, from, src, l.cfg.ForceRport)
	}
	t.enter()
	l.cfg.Handler.ServeMessage(m, f)
	return t.leave()
}
