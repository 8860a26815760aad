package rtprelay

import (
	"math"
	"net/netip"
	"strings"
	"time"
)

// callKey: legs of one Call-ID never share a session, nor does what Control makes with what Engine makes.
type callKey struct {
	id  string
	leg int
}

// controlLeg marks the calls of Control, which knows no legs.
const controlLeg = math.MinInt

type relayCall struct {
	key      callKey
	sessions []*relaySession
}

// relaySession relays one stream of a call between two parties: side 0 is the one whose description came first. What is below
// loop is under its lock; tags, number and the like are under that of Embedded.
type relaySession struct {
	embedded *Embedded
	call     *relayCall
	fromTag  string
	toTag    string
	media    int           // m-line, from 1
	notify   *notifyTarget // of Control
	codecs   [2]string     // payload types that each party takes, in order
	audio    bool
	ttl      time.Duration // of Control; 0: Timeout
	marks    uint8         // of Control: who still holds the session
	files    int           // descriptors reckoned

	loop   *relayLoop
	sides  [2]relaySide
	opaque bool  // not RTP: no class check
	last   int64 // last accepted packet or signalling

	born      int64
	signalled int64 // last signalling
	count     counters
	rec       *recording
}

// relaySide faces one party: its ports are where that party sends to, and from which it receives.
type relaySide struct {
	session              *relaySession
	index                uint8
	net                  *relayNet
	rtp                  *relayPort // nil until the other party's description was relayed
	rtcp                 *relayPort
	party                party
	known                bool // party was signalled
	rtpLatch, rtcpLatch  latch
	former               *formerParty // nil: never changed
	mux                  bool         // takes RTCP on the RTP port
	takesMux             bool         // said so last
	separate             bool         // takes RTCP on its own port, by the description
	recv                 rtpStats
	clocks               []rtpClock
	packets, bytes, sent uint64
	heard                int64 // last accepted packet
	cut                  *repacketizer
	ptime                time.Duration
	play                 *player
	copy                 *copier
	tos                  int16 // traffic class towards the party, plus one; 0: that of the relay
}

func newSession(e *Embedded, c *relayCall, tag string, media int) *relaySession {
	set := e.set
	s := &relaySession{embedded: e, call: c, fromTag: tag, media: media, loop: set.loops[e.next%len(set.loops)]}
	e.next++
	for i := range s.sides {
		s.sides[i].session, s.sides[i].index = s, uint8(i)
	}
	s.last = s.loop.now()
	s.born = s.last
	return s
}

func (s *relaySession) ref() Ref {
	r := Ref{CallID: s.call.key.id, Leg: s.call.key.leg, FromTag: s.fromTag, ToTag: s.toTag}
	if r.Leg == controlLeg {
		r.Leg = 0
	}
	return r
}

// find looks for the session of one stream; e.mu is held.
func (e *Embedded) find(k callKey, tag string, media int) *relaySession {
	c := e.calls[k]
	if c == nil {
		return nil
	}
	for _, s := range c.sessions {
		if s.media == media && (tag == "" || s.fromTag == tag) {
			return s
		}
	}
	return nil
}

// create makes a session without ports; e.mu is held.
func (e *Embedded) create(k callKey, tag string, media int) (*relaySession, error) {
	if _, err := e.setup(); err != nil {
		return nil, err
	}
	if e.full() {
		e.refused.Add(1)
		return nil, ErrUnavailable
	}
	c := e.calls[k]
	if c == nil {
		c = &relayCall{key: callKey{strings.Clone(k.id), k.leg}}
		e.calls[c.key] = c
	}
	s := newSession(e, c, strings.Clone(tag), media)
	c.sessions = append(c.sessions, s)
	e.sessions++
	s.files = filesOfSession
	e.files += s.files
	e.created.Add(1)
	if e.sessions == 1 {
		e.watch()
	}
	return s, nil
}

// remove ends a session; e.mu is held.
func (e *Embedded) remove(s *relaySession) {
	c := s.call
	for i, o := range c.sessions {
		if o == s {
			c.sessions = append(c.sessions[:i:i], c.sessions[i+1:]...)
			e.sessions--
			e.files -= s.files
			if s.ready() {
				e.complete++
			}
			e.duration += time.Duration(s.loop.now() - s.born)
			last := s.shut()
			e.gone.add(&last)
			break
		}
	}
	if len(c.sessions) == 0 {
		delete(e.calls, c.key)
	}
	if e.sessions == 0 && e.ticker != nil {
		e.ticker.Stop()
		e.ticker = nil
	}
}

func (e *Embedded) deleteAll() {
	for _, c := range e.calls {
		for _, s := range append([]*relaySession(nil), c.sessions...) {
			e.remove(s)
		}
	}
}

// shut gives everything back that the session holds and answers with its last counts.
func (s *relaySession) shut() counters {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	for i := range s.sides {
		side := &s.sides[i]
		side.stopPlay()
		side.replaceCopy(nil)
		side.close()
	}
	s.stopRecording()
	return s.count
}

func (s *relaySide) close() {
	if s.rtp == nil {
		return
	}
	s.session.loop.remove(s.rtp)
	s.closeRTCP()
	s.net.give(s.rtp.num)
	s.rtp, s.rtcp = nil, nil
}

// open makes sure that the side has ports and says where they are; the lock of the loop is held.
func (s *relaySide) open() (netip.AddrPort, error) {
	if s.rtp == nil {
		if err := s.net.open(s.session.loop, s); err != nil {
			s.session.embedded.refused.Add(1)
			return netip.AddrPort{}, err
		}
		if s.tos > 0 {
			s.setTOS(int(s.tos) - 1)
		}
	}
	return netip.AddrPortFrom(s.net.public(), s.rtp.num), nil
}

// setTOS sets the traffic class of what is sent to the party; the lock of the loop is held.
func (s *relaySide) setTOS(tos int) {
	s.tos = int16(tos) + 1
	if s.rtp != nil {
		s.session.loop.mark(s.rtp.sock, tos, s.net.Addr.Is6())
	}
	if s.rtcp != nil {
		s.session.loop.mark(s.rtcp.sock, tos, s.net.Addr.Is6())
	}
}

// update is one description of one stream.
type update struct {
	party
	owner    uint8     // side of the party that wrote it
	own, far *relayNet // where a new session gets its ports: towards the owner, towards the other
	cut      time.Duration
	ptime    time.Duration
	takesMux bool // the description says a=rtcp-mux
	mux      int8 // 1: takes RTCP on the RTP port, -1: on its own, 0: not said
	opaque   bool
	fresh    bool // new ports even if there are some
	clocks   []rtpClock
}

// apply takes the description in and answers with the address to write in its place: where the other party shall send. e.mu is held.
func (s *relaySession) apply(u update) (netip.AddrPort, error) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	own, far := &s.sides[u.owner], &s.sides[1-u.owner]
	if own.net == nil {
		own.net = u.own
	}
	if far.net == nil {
		far.net = u.far
	}
	if u.fresh {
		far.close()
	}
	a, err := far.open()
	if err != nil {
		return netip.AddrPort{}, err
	}
	s.last = s.loop.now()
	s.signalled = s.last
	s.opaque = s.opaque || u.opaque
	own.signal(u.party)
	far.clocks = u.clocks // payload types are those of the receiver
	if own.clocks == nil {
		own.clocks = u.clocks
	}
	own.ptime = u.ptime
	if u.mux != 0 {
		own.mux, own.separate = u.mux > 0, u.mux < 0
		far.mux, far.separate = own.mux, own.separate
	}
	own.cut = own.cut.with(u.cut)
	own.takesMux = u.takesMux
	s.economize()
	return a, nil
}

// ready: both sides have ports, so the stream was answered.
func (s *relaySession) ready() bool { return s.sides[0].rtp != nil && s.sides[1].rtp != nil }

// netNamed finds an interface by its name, or by position for RTPProxy's words.
func (e *Embedded) netNamed(name string) *relayNet {
	for _, n := range e.set.nets {
		if n.Name == name {
			return n
		}
	}
	switch {
	case name == "internal":
		return e.set.nets[0]
	case name == "external" && len(e.set.nets) > 1:
		return e.set.nets[1]
	}
	return nil
}

// netOf finds the first interface of an address family; nil if there is none.
func (e *Embedded) netOf(ipv6 bool) *relayNet {
	for _, n := range e.set.nets {
		if n.Addr.Is6() == ipv6 {
			return n
		}
	}
	return nil
}
