package rtprelay

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// An Interface is one network that the embedded relay stands in.
type Interface struct {
	Name      string     // for Options.From and Options.To; the first two also answer to "internal" and "external"
	Addr      netip.Addr // bound; required
	Advertise netip.Addr // written into descriptions; invalid: Addr
	Low, High uint16     // ports used, both included; 0, 0: 10000 to 29999. Nobody else on this host can be sent to there
}

func (i *Interface) public() netip.Addr {
	if i.Advertise.IsValid() {
		return i.Advertise
	}
	return i.Addr
}

// Embedded is a media relay inside this process. It implements Engine, Player, Recorder and Prober. The zero value relays on
// the address of the default route. Fields must not change once it is in use. Methods are safe for concurrent use. While no
// session exists it has no goroutine and no timer, so it need not be closed.
//
// Every relayed stream has one UDP port for RTP and the next one for RTCP towards each party. A port learns its party from
// packets (symmetric RTP, RFC 4961) and then locks: see Options and LatchAny. RTP, RTCP, STUN and DTLS pass unread, SRTP therefore
// as well; anything else is dropped.
type Embedded struct {
	Interfaces []Interface

	Timeout  time.Duration // no packet from either party for so long ends a call; 0: 60 s
	HalfOpen time.Duration // an offer without an answer; 0: 4 minutes, longer than Timer C
	Hold     time.Duration // in place of Timeout while a party is on hold; 0: 30 minutes
	// OneSided ends a call when nothing has come for so long, RTCP included, from one party that should be sending: its description does not say recvonly or inactive,
	// and the other's neither sendonly nor inactive, nor hold. RTPProxy's option -i. A phone that neither sends during silence nor knows RTCP needs 0: never.
	OneSided time.Duration

	// OnTimeout is told of every call that timed out, after it is gone, on a goroutine of its own.
	OnTimeout func(Ref)

	// MaxSessions bounds the streams held; beyond: ErrUnavailable. 0: 10000, and what RLIMIT_NOFILE leaves beside 512: a stream takes four descriptors, two once both
	// parties have agreed on rtcp-mux.
	MaxSessions int
	Loops       int // event loops, of use on many cores; 0: 1. One carries some 200,000 packets a second

	// LatchAny lets a port learn its party from any address while it has none. By default only the address in the description and
	// the address the SIP message came from are learned, which is what keeps others out (RFC 7362 section 4).
	LatchAny bool
	// Roaming lets a locked port follow its party to another address when SSRC and sequence number go on. Whoever sees the
	// stream can then take it over.
	Roaming bool
	// Networks are destinations allowed beside public ones. Loopback, link-local and private destinations are else allowed only to a party
	// whose SIP message came from a network of the same kind. Multicast, broadcast, unspecified and own ports never are.
	Networks []netip.Prefix
	// Allow has the last word over a destination that passed the rules above; nil: yes.
	Allow func(dst, sipSource netip.Addr) bool

	// MaxRate bounds the packets a second that are taken from one party on one port, RTP and RTCP each; more are dropped and counted as Flooded. 0: 5000, some
	// ten times what video in high definition needs; negative: no bound.
	MaxRate int

	TOS       int    // traffic class of what is sent; 0: 0xb8, expedited forwarding; -1: the system's
	RecordDir string // where Record writes; "": the current directory

	portable bool // a goroutine a socket, as on systems without epoll

	mu       sync.Mutex
	set      *relaySetup
	setErr   error
	calls    map[callKey]*relayCall
	sessions int
	files    int // descriptors reckoned for them
	ticker   *time.Timer
	closed   bool
	next     int // loop of the next session

	created, timedOut, refused, denied atomic.Uint64
	gone                               counters // of ended sessions; under mu
	complete                           uint64   // ended sessions that had been answered; under mu
	duration                           time.Duration
}

// relaySetup is the configuration with its defaults filled in.
type relaySetup struct {
	base                    time.Time
	nets                    []*relayNet
	loops                   []*relayLoop
	timeout, halfOpen, hold time.Duration
	oneSided                time.Duration
	rate                    uint32
	max, files              int // files 0: not reckoned
}

// Counters tell what the relay has done since it was made.
type Counters struct {
	Calls, Sessions   int    // held now; a session is one stream of a call
	Created, TimedOut uint64 // sessions
	Complete          uint64 // sessions that ended after they had been answered
	Refused           uint64 // sessions: too many, or no free port
	Denied            uint64 // destinations that the rules forbid
	Packets, Bytes    uint64 // received
	Relayed           uint64
	Strangers         uint64 // dropped: not from the party the port belongs to
	Flooded           uint64 // dropped: more than MaxRate
	Malformed         uint64 // dropped: not RTP, RTCP, STUN or DTLS
	Undeliverable     uint64 // dropped: the other party's address is not known, it is on hold or hears a player, or the system refused
	Played            uint64
	Duration          time.Duration // of ended sessions, in sum

	resizedIn, resizedOut uint64
}

// Check reports every mistake in the configuration.
func (e *Embedded) Check() error {
	var errs []error
	names := map[string]bool{}
	for i := range e.Interfaces {
		in := &e.Interfaces[i]
		if !in.Addr.IsValid() || in.Addr.IsUnspecified() || in.Addr.IsMulticast() {
			errs = append(errs, fmt.Errorf("rtprelay: interface %q: Addr must be one of this host's addresses", in.Name))
		}
		if in.Advertise.IsValid() && in.Advertise.Unmap().Is4() != in.Addr.Unmap().Is4() {
			errs = append(errs, fmt.Errorf("rtprelay: interface %q: Advertise is of the other address family", in.Name))
		}
		if (in.Low != 0 || in.High != 0) && (in.Low < 1024 || int(in.High) < int(in.Low)+1) {
			errs = append(errs, fmt.Errorf("rtprelay: interface %q: ports %d to %d hold no pair above 1023", in.Name, in.Low, in.High))
		}
		if names[in.Name] {
			errs = append(errs, fmt.Errorf("rtprelay: two interfaces named %q", in.Name))
		}
		names[in.Name] = true
	}
	if e.TOS < -1 || e.TOS > 255 {
		errs = append(errs, fmt.Errorf("rtprelay: TOS %d", e.TOS))
	}
	return errors.Join(errs...)
}

// setup fills in the defaults at first use; e.mu is held.
func (e *Embedded) setup() (*relaySetup, error) {
	if e.set != nil || e.setErr != nil {
		return e.set, e.setErr
	}
	if e.setErr = e.Check(); e.setErr != nil {
		return nil, e.setErr
	}
	s := &relaySetup{
		base:     time.Now(),
		timeout:  orDefault(e.Timeout, 60*time.Second),
		halfOpen: orDefault(e.HalfOpen, 4*time.Minute),
		hold:     orDefault(e.Hold, 30*time.Minute),
		oneSided: max(e.OneSided, 0),
		max:      e.MaxSessions,
		rate:     packetRate(e.MaxRate),
	}
	if s.max <= 0 {
		s.max, s.files = defaultSessions, fileLimit()
	}
	interfaces := e.Interfaces
	if len(interfaces) == 0 {
		interfaces = []Interface{{Addr: routeAddr()}}
	}
	for i := range interfaces {
		s.nets = append(s.nets, newRelayNet(interfaces[i]))
	}
	for range max(1, e.Loops) {
		s.loops = append(s.loops, newRelayLoop(s.base, e.portable, e.tos()))
	}
	e.set, e.calls = s, map[callKey]*relayCall{}
	return s, nil
}

func packetRate(n int) uint32 {
	switch {
	case n == 0:
		return 5000
	case n < 0 || n > math.MaxUint32:
		return math.MaxUint32
	}
	return uint32(n)
}

func (e *Embedded) tos() int {
	if e.TOS == 0 {
		return 0xb8
	}
	return e.TOS
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// routeAddr is the address of the default route; connecting a UDP socket sends nothing.
func routeAddr() netip.Addr {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// Close ends every session without a word and refuses new ones.
func (e *Embedded) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.deleteAll()
	return nil
}

// Counters are exact but for sessions in the middle of a packet.
func (e *Embedded) Counters() Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := e.gone
	for _, c := range e.calls {
		for _, s := range c.sessions {
			s.loop.mu.Lock()
			sum.add(&s.count)
			s.loop.mu.Unlock()
		}
	}
	return Counters{
		Calls: len(e.calls), Sessions: e.sessions,
		Created: e.created.Load(), Complete: e.complete, TimedOut: e.timedOut.Load(), Refused: e.refused.Load(), Denied: e.denied.Load(),
		Packets: sum.packets, Bytes: sum.bytes, Relayed: sum.relayed,
		Strangers: sum.strangers, Flooded: sum.flooded, Malformed: sum.malformed, Undeliverable: sum.undeliverable, Played: sum.played,
		resizedIn: sum.resizedIn, resizedOut: sum.resizedOut, Duration: e.duration,
	}
}

// counters of one session, under the lock of its loop.
type counters struct {
	packets, bytes, relayed, strangers, flooded, malformed, undeliverable, played, resizedIn, resizedOut uint64
}

func (c *counters) add(o *counters) {
	c.packets += o.packets
	c.bytes += o.bytes
	c.relayed += o.relayed
	c.strangers += o.strangers
	c.flooded += o.flooded
	c.malformed += o.malformed
	c.undeliverable += o.undeliverable
	c.played += o.played
	c.resizedIn += o.resizedIn
	c.resizedOut += o.resizedOut
}

func (c *counters) dropped() uint64 { return c.strangers + c.flooded + c.malformed + c.undeliverable }
