package sipproxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A Server receives SIP messages and runs a Handler for each request. The zero value with a Handler
// listens on UDP and TCP port 5060 of every address. Fields must not change after Run.
type Server struct {
	// Listen names the sockets: "udp:0.0.0.0:5060", "tls:[::]:5061", or with the address to tell others
	// "udp:10.0.0.5:5060=203.0.113.5:5060". Empty: udp and tcp on port 5060, IPv6 too where the machine has it.
	Listen  []string
	Handler Handler
	Names   []string // our domains and aliases, beside the listen addresses
	Keys    [][]byte // current and previous secret: flow tokens, signed Record-Route, nonces; empty: random, dies with the process

	// Accept decides before any state exists; nil: Stateful. It must not wait.
	Accept func(*Request) Mode

	Timers transaction.Timers
	TLS    *tls.Config
	Limits Limits
	Drain  time.Duration // bound on the wait for requests in progress when Run's context ends; 0: 32 s; negative: none
	Runner RunnerMode
	Net    transport.Net          // nil: the real one
	Tap    func(transport.Packet) // every message in and out
	Logger *slog.Logger           // nil: slog.Default()

	// LargeUDP sends requests over 1300 bytes by UDP all the same. By default they go by TCP first, where this server
	// listens on TCP (§18.1.1).
	LargeUDP bool
	// BeforeSend is called right before messages leave, once for all that a batch of received datagrams caused. A registrar's journal that gathers
	// is flushed here: one write for many REGISTERs. It may write a file; it must not wait for anything slower, nor send.
	BeforeSend func()
	// ForceRport answers clients behind a NAT at the address and port their request came from even when they do not ask for it with rport (RFC 3581):
	// those whose Via names another address than the source of the packet. Kamailio: force_rport.
	ForceRport bool
	// Readers is the number of UDP sockets per listen address; 1. With more, a peer and its answers may meet on different readers.
	Readers int
	// Busy, when set, is asked while draining: Run waits, at most Drain, until it returns false too (calls followed by package dialog, for instance).
	Busy func() bool
	// NonSIP takes datagrams on the SIP port that are not SIP (first byte 0 to 3: STUN); nil: they are counted and dropped. It must not block.
	NonSIP func(data []byte, f transport.Flow) bool

	state
}

// A Mode says how a request is treated.
type Mode uint8

const (
	Stateful  Mode = iota // a server transaction; responses through the engine
	Stateless             // no state: Forward takes one target and returns nil (§16.11)
	Discard               // dropped and counted
)

// A RunnerMode says how handlers run.
type RunnerMode uint8

const (
	RunnerDefault RunnerMode = iota // Coroutines
	Goroutines                      // each handler on a goroutine of its own
	Coroutines                      // handlers start on the reading goroutine and leave it when they wait
)

// state is what a server works with once it runs.
type state struct {
	once       sync.Once
	ready      chan struct{}
	stop       chan struct{} // closed by Shutdown
	stopOnce   sync.Once
	closed     chan struct{}
	running    atomic.Bool
	draining   atomic.Bool
	limits     Limits
	keys       [][]byte
	seed       maphash.Seed
	trs        *transport.Layer
	txs        *transaction.Layer
	coroutines coroutines
	tasks      taskCount
	waiters    waiters
	stalls     stalls
	strict     wrongGoroutine
	hasTCP     bool
	count      counters

	branchKey sipKey
	signKeys  []sipKey // one for each of Keys
	loopSeed  uint64

	spare   atomic.Pointer[sip.Request] // memory for a snapshot
	lastVia atomic.Pointer[viaEntry]
	viaMu   sync.Mutex
	vias    map[viaKey]*viaEntry

	listMu sync.Mutex
	list   Request // head of the requests in progress
	active int
	idle   chan struct{} // closed and replaced when active falls to zero while somebody waits
}

func (s *Server) setup() {
	s.once.Do(func() {
		s.ready = make(chan struct{})
		s.stop = make(chan struct{})
		s.closed = make(chan struct{})
	})
}

// Ready is closed when the server listens on all its addresses.
func (s *Server) Ready() <-chan struct{} {
	s.setup()
	return s.ready
}

// Addrs returns the listen addresses with the ports that were bound; nil before Ready.
func (s *Server) Addrs() []transport.Addr {
	if !s.isReady() {
		return nil
	}
	return s.trs.Addrs()
}

func (s *Server) isReady() bool {
	s.setup()
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// FlowTo finds the flow of a stored binding; false: the connection is gone, or local is another node's.
func (s *Server) FlowTo(local, remote transport.Addr) (transport.Flow, bool) {
	if !s.isReady() {
		return transport.Flow{}, false
	}
	return s.trs.FindFlow(local, remote)
}

// Key returns the current secret, and the previous one or nil; none before Ready.
func (s *Server) Key() (current, previous []byte) {
	if len(s.keys) == 0 {
		return nil, nil
	}
	if len(s.keys) > 1 {
		return s.keys[0], s.keys[1]
	}
	return s.keys[0], nil
}

// Run checks the configuration, listens, serves until ctx ends or Shutdown is called, then drains: requests in progress finish, new ones outside
// dialogs get 503, for at most Drain. It returns nil after that, and an error when the configuration is wrong or an
// address cannot be bound. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.setup()
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("sipproxy: Run called twice")
	}
	defer close(s.closed)
	if err := s.Check(); err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	close(s.ready)
	select {
	case <-ctx.Done():
	case <-s.stop:
	}
	s.drain()
	s.close()
	return nil
}

// Shutdown makes Run drain and waits until it has returned, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.setup()
	s.stopOnce.Do(func() { close(s.stop) })
	if !s.running.Load() {
		return nil
	}
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) open(ctx context.Context) error {
	s.limits = s.Limits.withDefaults()
	s.seed = maphash.MakeSeed()
	s.keys = s.Keys
	if len(s.keys) == 0 {
		k := make([]byte, 32)
		rand.Read(k)
		s.keys = [][]byte{k}
	}
	s.branchKey, s.loopSeed = newSipKey(s.keys[0], "branch"), newSipKey(s.keys[0], "loop").k0
	for _, k := range s.keys {
		s.signKeys = append(s.signKeys, newSipKey(k, "sign"))
	}
	s.coroutines.s = s
	s.tasks.none = make(chan struct{}, 1)
	s.list.prev, s.list.next = &s.list, &s.list
	s.strict, _ = s.Net.(wrongGoroutine)
	c := transport.Config{
		Net: s.Net, Handler: receiver{s}, TLS: s.TLS, Limits: s.limits.Message,
		Connections: s.limits.Connections, ConnectionsPerIP: s.limits.ConnectionsPerIP, QueueBytes: s.limits.QueueBytes,
		Lookups: s.limits.Lookups,
		// A phone may ring for Timer C without a word, and the end of its call still comes by its connection.
		Idle:    s.timerC() + 128*s.t1(),
		Readers: s.Readers, Tap: s.Tap, Logger: s.Logger, NonSIP: s.NonSIP, ForceRport: s.ForceRport, BeforeSend: s.BeforeSend,
	}
	if s.Runner != Goroutines {
		c.StallAfter = stallAfter
	}
	s.trs = transport.New(c)
	if err := s.trs.Listen(ctx, s.listenAll(ctx)...); err != nil {
		return fmt.Errorf("sipproxy: %w", err)
	}
	for _, a := range s.trs.Addrs() {
		s.hasTCP = s.hasTCP || a.Proto == transport.TCP
	}
	s.txs = transaction.New(transaction.Config{
		Timers: s.Timers, Transport: s.trs, Servers: s.limits.Transactions, Clients: s.limits.Transactions,
	})
	s.trs.Start()
	return nil
}

func (s *Server) listen() []string {
	if len(s.Listen) == 0 {
		return []string{"udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"}
	}
	return s.Listen
}

// listenAll is listen, and the IPv6 addresses beside it when nothing was asked for and the machine has IPv6.
func (s *Server) listenAll(ctx context.Context) []string {
	list := s.listen()
	if len(s.Listen) > 0 {
		return list
	}
	n := s.Net
	if n == nil {
		n = transport.SystemNet{}
	}
	probe, err := n.ListenPacket(ctx, "udp6", "[::1]:0")
	if err != nil {
		return list
	}
	_ = probe.Close()
	return append(list, "udp:[::]:5060", "tcp:[::]:5060")
}

// drain waits for the requests in progress.
func (s *Server) drain() {
	s.draining.Store(true)
	if n := s.Stats().InProgress; n > 0 {
		s.log().Info("draining", "requests", n)
	}
	if s.Drain < 0 {
		return
	}
	bound := s.Drain
	if bound == 0 {
		bound = 32 * time.Second
	}
	end := time.NewTimer(bound)
	defer end.Stop()
	for {
		select {
		case <-s.quiet():
		case <-end.C:
			return
		}
		if s.Busy == nil || !s.Busy() {
			return
		}
		poll := time.NewTimer(drainPoll)
		select {
		case <-poll.C:
		case <-end.C:
			poll.Stop()
			return
		}
	}
}

// drainPoll is how often Busy is asked.
const drainPoll = 250 * time.Millisecond

// close ends what is still in progress and closes the sockets.
func (s *Server) close() {
	s.listMu.Lock() // from here on no request is taken
	s.tasks.closing.Store(true)
	s.listMu.Unlock()
	for _, r := range s.inProgress() {
		r.cancel(ErrClosed, "")
		r.abort()
	}
	ended := s.tasks.wait(closeWait)
	_ = s.trs.Close()
	s.txs.Close()
	if !ended || !s.tasks.wait(closeWait) { // those of ACKs and hooks that began meanwhile
		s.log().Warn("handlers still run after the server has closed")
	}
	s.coroutines.close()
}

// closeWait is how long handlers have to return once their requests are cancelled and their branches ended.
const closeWait = 5 * time.Second

// Check reports every mistake in the configuration at once, joined; nil when there is none. Run calls it first.
func (s *Server) Check() error {
	var errs []error
	if s.Handler == nil {
		errs = append(errs, errors.New("sipproxy: no Handler"))
	}
	for _, spec := range s.listen() {
		a, _, err := transport.ParseListen(spec)
		if err != nil {
			errs = append(errs, fmt.Errorf("sipproxy: Listen %q: %w", spec, err))
		} else if a.Proto.Secure() && s.TLS == nil {
			errs = append(errs, fmt.Errorf("sipproxy: Listen %q: TLS is not configured", spec))
		}
	}
	for _, n := range s.Names {
		if u, err := sip.ParseURI("sip:" + n); err != nil || u.Host != n {
			errs = append(errs, fmt.Errorf("sipproxy: Names: %q is not a host name", n))
		}
	}
	for i, k := range s.Keys {
		if len(k) < 16 {
			errs = append(errs, fmt.Errorf("sipproxy: Keys[%d] has %d bytes, at least 16 are needed", i, len(k)))
		}
	}
	if s.Runner > Coroutines {
		errs = append(errs, fmt.Errorf("sipproxy: Runner: unknown mode %d", s.Runner))
	}
	errs = append(errs, s.Limits.check()...)
	errs = append(errs, checkTimers(s.Timers)...)
	return errors.Join(errs...)
}

func checkTimers(t transaction.Timers) (errs []error) {
	for _, x := range []struct {
		name string
		d    time.Duration
	}{{"T1", t.T1}, {"T2", t.T2}, {"T4", t.T4}, {"D", t.D}, {"C", t.C}} {
		if x.d < 0 {
			errs = append(errs, fmt.Errorf("sipproxy: Timers.%s is negative", x.name))
		}
	}
	if t.T1 > 0 && t.T2 > 0 && t.T2 < t.T1 {
		errs = append(errs, errors.New("sipproxy: Timers.T2 is below T1"))
	}
	if t.C > 0 && t.C <= 3*time.Minute {
		errs = append(errs, errors.New("sipproxy: Timers.C must be over three minutes (RFC 3261 §16.6 step 11)"))
	}
	return errs
}

func (s *Server) t1() time.Duration {
	if s.Timers.T1 > 0 {
		return s.Timers.T1
	}
	return 500 * time.Millisecond
}

func (s *Server) timerC() time.Duration {
	if s.Timers.C > 0 {
		return s.Timers.C
	}
	return 181 * time.Second
}

func (s *Server) log() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
