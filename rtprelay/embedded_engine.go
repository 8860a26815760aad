package rtprelay

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

var (
	_ Engine   = (*Embedded)(nil)
	_ Player   = (*Embedded)(nil)
	_ Recorder = (*Embedded)(nil)
	_ Prober   = (*Embedded)(nil)
)

// Offer opens ports for every stream that is switched on and writes them into the description. A repeated or later offer of a known
// leg keeps the ports. On an error nothing new is held.
//
// Without TrustSDP media goes to the address that the SIP message came from until a packet arrives; Params.Source is therefore
// required, also because only it vouches for private addresses.
func (e *Embedded) Offer(_ context.Context, p Params) (Result, error) {
	d, err := p.description()
	if err != nil {
		return Result{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.setup(); err != nil {
		return Result{}, err
	}
	owner := ownerOf(p.Swap)
	var created []*relaySession
	streams, err := e.streams(d, func(i int, m *Media) (*relaySession, update, error) {
		u, err := e.update(&p, d, i, owner)
		if err != nil {
			return nil, u, err
		}
		s := e.find(p.key(), p.FromTag, i+1)
		if s == nil {
			if s, err = e.create(p.key(), p.FromTag, i+1); err != nil {
				return nil, u, err
			}
			created = append(created, s)
		}
		s.describe(m, owner)
		return s, u, nil
	})
	if err != nil {
		for _, s := range created {
			e.remove(s)
		}
		return Result{}, err
	}
	return p.result(d, streams), nil
}

func ownerOf(answerer bool) uint8 {
	if answerer {
		return 1
	}
	return 0
}

// Answer completes what Offer began. A further answer may change the address, which opens learning again.
func (e *Embedded) Answer(_ context.Context, p Params) (Result, error) {
	d, err := p.description()
	if err != nil {
		return Result{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set == nil {
		return Result{}, ErrNoSession
	}
	owner := ownerOf(!p.Swap)
	streams, err := e.streams(d, func(i int, m *Media) (*relaySession, update, error) {
		s := e.find(p.key(), p.FromTag, i+1)
		if s == nil {
			return nil, update{}, ErrNoSession
		}
		u, err := e.update(&p, d, i, owner)
		if m.Mux {
			u.mux = 1
		}
		s.toTag = strings.Clone(p.ToTag)
		s.describe(m, owner)
		return s, u, err
	})
	if err != nil {
		return Result{}, err
	}
	e.prune(&p, d)
	return p.result(d, streams), nil
}

// prune ends streams that were refused or switched off, and those of an offer that was refused as a whole: the answer that stands has no m= line for them (RFC 3264
// section 8 lets none disappear).
func (e *Embedded) prune(p *Params, d *Description) {
	c := e.calls[p.key()]
	if c == nil {
		return
	}
	for i := len(c.sessions) - 1; i >= 0; i-- {
		s := c.sessions[i]
		if (p.FromTag == "" || s.fromTag == p.FromTag) && (s.media > len(d.Media) && !s.ready() || s.media <= len(d.Media) && d.Media[s.media-1].Port == 0) {
			e.remove(s)
		}
	}
}

// streams applies the description stream by stream.
func (e *Embedded) streams(d *Description, of func(int, *Media) (*relaySession, update, error)) ([]Stream, error) {
	streams := make([]Stream, len(d.Media))
	for i := range d.Media {
		m := &d.Media[i]
		if !m.Relayed() {
			continue
		}
		s, u, err := of(i, m)
		if err != nil {
			return nil, err
		}
		a, err := s.apply(u)
		if err != nil {
			return nil, ErrUnavailable
		}
		streams[i] = Stream{Addr: a.Addr(), Port: a.Port()}
	}
	return streams, nil
}

func (p *Params) key() callKey { return callKey{p.CallID, p.Leg} }

// describe keeps what Play has to know.
func (s *relaySession) describe(m *Media, owner uint8) {
	s.audio = strings.EqualFold(m.Type, "audio")
	s.codecs[owner] = strings.Clone(m.Formats)
}

// update turns one m= section into what the session has to know; e.mu is held.
func (e *Embedded) update(p *Params, d *Description, i int, owner uint8) (update, error) {
	m, o := &d.Media[i], &p.Options
	u := update{owner: owner, cut: o.Repacketize, ptime: time.Duration(m.PTime) * time.Millisecond, clocks: rtpClocks(d.text, i)}
	if u.takesMux = m.Mux; !m.Mux {
		u.mux = -1
	}
	u.opaque = !strings.Contains(strings.ToUpper(m.Proto), "RTP/")
	u.party = e.partyOf(p, m)
	var err error
	if u.own, err = e.netFor(o.From, m.Addr.Is6() && !m.Addr.Is4In6()); err != nil {
		return u, err
	}
	six := u.own.Addr.Is6()
	if o.IPv6 != nil {
		six = *o.IPv6
	}
	u.far, err = e.netFor(o.To, six)
	return u, err
}

func (e *Embedded) partyOf(p *Params, m *Media) party {
	o := &p.Options
	source, addr := p.Source.Unmap(), m.Addr.Unmap()
	v := party{source: source, asym: o.Asymmetric, any: e.LatchAny, hold: m.Held()}
	v.quiet = v.hold || m.Direction != SendRecv
	v.mute = m.Direction == RecvOnly || m.Direction == Inactive
	v.deaf = v.hold || m.Direction == SendOnly || m.Direction == Inactive
	v.signal = netip.AddrPortFrom(addr, m.Port)
	if !o.TrustSDP && !o.Asymmetric && source.IsValid() {
		v.sdp = v.signal
		v.signal = netip.AddrPortFrom(source, m.Port)
	}
	if m.RTCP.Port() != 0 {
		a := v.signal.Addr()
		if v.sdp == (netip.AddrPort{}) && m.RTCP.Addr().IsValid() {
			a = m.RTCP.Addr().Unmap()
		}
		v.rtcp = netip.AddrPortFrom(a, m.RTCP.Port())
	}
	return v
}

// netFor is the interface of that name, else the first of that family.
func (e *Embedded) netFor(name string, ipv6 bool) (*relayNet, error) {
	n := e.netOf(ipv6)
	if name != "" {
		n = e.netNamed(name)
	}
	if n == nil {
		return nil, ErrUnsupported
	}
	return n, nil
}

// rtpClocks reads the a=rtpmap lines of one m= section: a=rtpmap:<payload type> <encoding name>/<clock rate>, RFC 8866 section 6.6.
func rtpClocks(text string, media int) []rtpClock {
	var clocks []rtpClock
	at := -1
	for len(text) > 0 {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if strings.HasPrefix(line, "m=") {
			at++
		}
		v, ok := strings.CutPrefix(line, "a=rtpmap:")
		if !ok || at != media {
			continue
		}
		pt, name, _ := strings.Cut(strings.TrimSpace(v), " ")
		_, rate, _ := strings.Cut(name, "/")
		rate, _, _ = strings.Cut(strings.TrimSpace(rate), "/")
		n, err1 := strconv.ParseUint(pt, 10, 7)
		r, err2 := strconv.ParseUint(rate, 10, 32)
		if err1 == nil && err2 == nil && n >= 96 && r > 0 && len(clocks) < 32 {
			clocks = append(clocks, rtpClock{byte(n), uint32(r)})
		}
	}
	return clocks
}

// Delete ends the sessions of one leg.
func (e *Embedded) Delete(_ context.Context, r Ref) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.each(r, func(s *relaySession) error {
		e.remove(s)
		return nil
	})
	return nil
}

// Query sums over the streams of one leg; the jitter is that of the worst, and loss is RTP's.
func (e *Embedded) Query(_ context.Context, r Ref) (Stats, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var sum Stats
	first := true
	err := e.each(r, func(s *relaySession) error {
		st := s.stats()
		for i := range 2 {
			sum.Packets[i] += st.Packets[i]
			sum.Bytes[i] += st.Bytes[i]
			sum.Lost[i] += st.Lost[i]
			sum.Jitter[i] = max(sum.Jitter[i], st.Jitter[i])
		}
		sum.Dropped += st.Dropped
		if first || st.Idle < sum.Idle {
			sum.Idle = st.Idle
		}
		first = false
		return nil
	})
	return sum, err
}

func (s *relaySession) stats() Stats {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	st := Stats{Dropped: s.count.dropped(), Idle: time.Duration(s.loop.now() - s.last)}
	for i := range s.sides {
		side := &s.sides[i]
		st.Packets[i], st.Bytes[i] = side.packets, side.bytes
		st.Lost[i], st.Jitter[i] = side.recv.totalLost(), side.recv.jitterTime()
	}
	return st
}

// Probe fails only when no session can be had at all.
func (e *Embedded) Probe(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.setup(); err != nil {
		return err
	}
	if e.full() {
		return ErrUnavailable
	}
	return nil
}
