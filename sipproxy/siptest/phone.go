package siptest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A Phone is a scripted user agent over UDP and TCP, made for tests: it shares no code with the proxy under test but the
// message parser. It follows RFC 3261 as a good phone does (retransmission, absorbing copies, ACK, route sets with loose
// and strict routers) and fails its test, in words, when what it receives breaks the RFC: a response with a foreign or
// second Via, a changed From, Call-ID or CSeq, two finals to one request, a request without a branch, with a route left
// on it, with a CSeq that does not rise, an ACK with the wrong number.
//
// Fill the fields, then Start; Kit.Phone does both. All methods are safe for concurrent use.
type Phone struct {
	T      T             // failed from the goroutines of the phone
	Net    transport.Net // the host of the phone; transport.SystemNet works as well
	Name   string        // in failures, ladders and its own URI
	Listen string        // IP address and port; both UDP and TCP listen there; port 0 is chosen

	Proto transport.Proto // for requests whose URI names no transport: UDP (default) or TCP
	AOR   string          // From of its requests; sip:NAME@LISTEN
	Proxy string          // "192.0.2.1:5060": where requests go that have no route; "": to the Request-URI
	Route []string        // preloaded route of requests outside dialogs: "<sip:192.0.2.1;lr>"
	SDP   string          // body of INVITE and its 200; "": a small one

	// Edit may change every request before it is sent, ACK and CANCEL included; EditResponse every response.
	Edit         func(*sip.Request)
	EditResponse func(*sip.Response)
	// Authorize is called when a request was answered with 401 or 407: it adds credentials to req, a copy with a new branch and
	// CSeq, and says whether to send it. Nil: the challenge is a final response as others.
	Authorize func(req *sip.Request, challenge *sip.Response) bool
	// Serve answers requests other than a new INVITE, ACK and CANCEL: nil lets the phone answer as it does by itself (200, or
	// 481 in unknown dialogs). c is nil outside a dialog. It must not wait.
	Serve func(c *Call, r *sip.Request) *sip.Response

	T1, T2  time.Duration // 500 ms, 4 s
	Wait    time.Duration // how long Expect and its like wait; 5 min
	Lenient bool          // check nothing

	ctx      context.Context
	stop     context.CancelFunc
	group    sync.WaitGroup
	at       netip.AddrPort
	socket   net.PacketConn
	listener net.Listener
	incoming *queue[*call]
	requests *queue[*sip.Request]
	odd      *queue[string]

	mu        sync.Mutex
	closed    bool
	raw       bool
	sentRaw   bool
	behaviour func(*Call)
	conns     map[netip.AddrPort]*phoneConn
	clients   map[string]*transaction
	servers   map[string]*serverTx
	calls     []*call
	timers    map[*resend]struct{}
	number    int
}

// Start opens the sockets. It fails p.T when that is impossible.
func (p *Phone) Start() {
	p.T.Helper()
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.incoming, p.requests, p.odd = newQueue[*call](), newQueue[*sip.Request](), newQueue[string]()
	p.conns, p.clients = make(map[netip.AddrPort]*phoneConn), make(map[string]*transaction)
	p.servers, p.timers = make(map[string]*serverTx), make(map[*resend]struct{})
	p.behaviour = answerAtOnce
	if _, real := p.Net.(transport.SystemNet); real { // peers remember the branches of an earlier process
		p.number = int(time.Now().UnixMilli()%1e6) * 1000
	}
	if p.Proto == 0 {
		p.Proto = transport.UDP
	}
	if p.T1 == 0 {
		p.T1 = 500 * time.Millisecond
	}
	if p.T2 == 0 {
		p.T2 = 4 * time.Second
	}
	if p.Wait == 0 {
		p.Wait = 5 * time.Minute
	}
	if err := p.open(); err != nil {
		p.T.Fatalf("%s: %v", p.Name, err)
	}
	if p.AOR == "" {
		p.AOR = "sip:" + p.Name + "@" + p.at.String()
	}
	p.group.Go(p.readPackets)
	p.group.Go(p.acceptAll)
}

// open binds both transports to one port; a chosen port may be taken on the other, so it tries a few.
func (p *Phone) open() (err error) {
	for range 10 {
		if p.socket, err = p.Net.ListenPacket(p.ctx, "udp", p.Listen); err != nil {
			return err
		}
		p.at, _ = netip.ParseAddrPort(p.socket.LocalAddr().String())
		if p.listener, err = p.Net.Listen(p.ctx, "tcp", p.at.String()); err == nil {
			return nil
		}
		_ = p.socket.Close() // tried again
	}
	return err
}

// Close hangs up on nobody: it closes the sockets and waits for the goroutines of the phone. It fails the test for calls
// that got a second 2xx which nobody took with Call.Fork.
func (p *Phone) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	for r := range p.timers {
		r.stop()
	}
	for _, c := range p.conns {
		c.close()
	}
	for _, c := range p.calls {
		if _, left := c.forks.poll(); left {
			p.failf("a second 2xx to one INVITE, which the test did not take with Fork")
		}
	}
	p.mu.Unlock()
	p.stop()
	_, _ = p.socket.Close(), p.listener.Close() // nothing to do about it
	p.group.Wait()
}

// Addr is the address where the phone listens.
func (p *Phone) Addr() netip.AddrPort { return p.at }

// Contact is the URI where the phone is reached.
func (p *Phone) Contact() string {
	s := "sip:" + p.Name + "@" + p.at.String()
	if p.Proto == transport.TCP {
		s += ";transport=tcp"
	}
	return s
}

// failf fails the test from any goroutine.
func (p *Phone) failf(format string, args ...any) {
	if !p.Lenient {
		p.T.Errorf("%s: %s", p.Name, fmt.Sprintf(format, args...))
	}
}

// background is the T of what runs on goroutines of the phone: Fatalf ends the goroutine, not the test's.
type background struct{ T }

func (b background) Fatalf(format string, args ...any) {
	b.Errorf(format, args...)
	runtime.Goexit()
}

// next is a number for a fresh branch, tag or Call-ID: readable in a ladder and repeatable. p.mu is held.
func (p *Phone) next() int {
	p.number++
	return p.number
}

func (p *Phone) branch() string {
	return fmt.Sprintf("%s%s-%d", sip.MagicCookie, p.Name, p.next())
}

func (p *Phone) sdp() string {
	if p.SDP != "" {
		return p.SDP
	}
	family := "IP4"
	if p.at.Addr().Is6() {
		family = "IP6"
	}
	return strings.ReplaceAll(fmt.Sprintf("v=0\no=%s 1 1 IN %s %s\ns=-\nc=IN %s %s\nt=0 0\nm=audio 40000 RTP/AVP 0\n",
		p.Name, family, p.at.Addr(), family, p.at.Addr()), "\n", "\r\n")
}

// A resend repeats something with doubling intervals until stopped. p.mu is held in f and over.
type resend struct {
	p        *Phone
	timer    *time.Timer
	wait     time.Duration // 0: only the end matters
	most     time.Duration // 0: doubles for ever
	until    time.Time
	stopped  bool
	f, ended func()
}

// repeat starts with a first wait; p.mu is held.
func (p *Phone) repeat(wait, most time.Duration, f, ended func()) *resend {
	r := &resend{p: p, wait: wait, most: most, until: now().Add(64 * p.T1), f: f, ended: ended}
	p.timers[r] = struct{}{}
	r.timer = time.AfterFunc(r.pause(), r.tick)
	return r
}

func (r *resend) pause() time.Duration {
	left := time.Until(r.until)
	if r.wait == 0 || r.wait > left {
		return left
	}
	return r.wait
}

func (r *resend) tick() {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.stopped {
		return
	}
	if !now().Before(r.until) {
		r.stop()
		r.ended()
		return
	}
	r.f()
	if r.wait *= 2; r.most > 0 && r.wait > r.most {
		r.wait = r.most
	}
	r.timer.Reset(r.pause())
}

// stop may be called on nil and more than once; p.mu is held.
func (r *resend) stop() {
	if r == nil || r.stopped {
		return
	}
	r.stopped = true
	r.timer.Stop()
	delete(r.p.timers, r)
}
