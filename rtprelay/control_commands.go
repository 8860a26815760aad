package rtprelay

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// baseProtocol is what V answers.
const baseProtocol = "20040107"

// execute runs a parsed command; c.mu is held.
func (c *Control) execute(cmd controlCommand) (string, controlCode) {
	n := len(cmd.args)
	switch cmd.verb {
	case 'V':
		return c.version(cmd)
	case 'U':
		if n < 4 || n > 7 {
			return "", codeWords
		}
		return c.update(cmd)
	case 'L':
		if n < 4 || n > 5 {
			return "", codeWords
		}
		return c.lookup(cmd)
	case 'D':
		return c.delete(cmd)
	case 'P':
		return c.play(cmd)
	case 'S':
		return c.stop(cmd)
	case 'R', 'N':
		return c.record(cmd)
	case 'C':
		return c.copy(cmd)
	case 'Q':
		return c.query(cmd)
	case 'I':
		return c.info(cmd)
	case 'G':
		return c.statistics(cmd)
	case 'X':
		if n > 0 || cmd.mods != "" {
			return "", codeWords
		}
		c.deleteEverything()
		return "0", codeNone
	}
	return "", codeUnknown
}

func (c *Control) version(cmd controlCommand) (string, controlCode) {
	switch {
	case cmd.mods == "" && len(cmd.args) == 0:
		return baseProtocol, codeNone
	case cmd.mods == "":
		return "", codeWords
	case !strings.EqualFold(cmd.mods, "F"):
		return "", codeMods
	case len(cmd.args) != 1:
		return "", codeWords
	}
	return strconv.Itoa(b2i(c.capable(cmd.args[0]))), codeNone
}

// capable says which dates of the protocol are served.
func (c *Control) capable(date string) bool {
	switch date {
	case baseProtocol, "20050322", "20060704", // several streams, music on hold, VF
		"20071116", "20071218", "20080403", "20081102", // z, C, Q, c
		"20141004", "20150330", "20150420", "20150617", // G, n, named counters of Q, tcp:%%CC_SELF%%
		"20191015", "20200226", "20230205", "20250523", "20251015", // &&, N, rtpa_nlost, CP, ttl and tos
		"20260306", "20260308": // labels, U && L
		return true
	case "20081224":
		return len(c.Notify) > 0
	}
	return false
}

// media is what U and L say about one stream.
type media struct {
	mods updateMods
	addr netip.Addr
	port uint16
}

func (c *Control) media(mods, addr, port string) (m media, code controlCode) {
	if m.mods, code = parseUpdateMods(mods); code != codeNone {
		return m, code
	}
	if m.mods.sides != "" && len(c.Engine.set.nets) < 2 {
		return m, codeExternal + controlCode(b2i(m.mods.sides[0] == 'I'))
	}
	if m.mods.six && c.Engine.netOf(true) == nil {
		return m, codeFamily
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || (m.mods.six && !a.Is6()) {
		return m, codeAddress
	}
	n, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		return m, codeAddress
	}
	if n <= 65535 { // RTPProxy takes more without a word; nothing can be sent there
		m.port = uint16(n)
	}
	m.addr = a.Unmap()
	return m, codeNone
}

// lock takes the relay's lock and makes sure that it is set up.
func (c *Control) lock() (unlock func(), code controlCode) {
	c.Engine.mu.Lock()
	if _, err := c.Engine.setup(); err != nil {
		c.Engine.mu.Unlock()
		return nil, codeMemory
	}
	return c.Engine.mu.Unlock, codeNone
}

// session finds the session of a stream and the side of the party that the first tag names.
func (c *Control) session(callID string, tags []string) (s *relaySession, side uint8) {
	k := callKey{callID, controlLeg}
	for i, t := range tags[:min(2, len(tags))] {
		tag := parseTag(t)
		if s = c.Engine.find(k, tag.tag, tag.media); s != nil && tag.tag != "" {
			return s, uint8(i)
		}
	}
	return nil, 0
}

// update is U: the description of an offer.
func (c *Control) update(cmd controlCommand) (string, controlCode) {
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	a := cmd.args
	m, code := c.media(cmd.mods, a[1], a[2])
	if code != codeNone {
		return "", code
	}
	notify, code := c.notifyOf(a)
	if code != codeNone {
		return "", code
	}
	tags := a[3:]
	if len(a) > 5 {
		tags = a[3 : len(a)-2]
	}
	s, owner := c.session(a[0], tags)
	fresh := s == nil
	if fresh {
		if c.draining {
			return "", codeDraining
		}
		tag := parseTag(a[3])
		var err error
		if s, err = c.Engine.create(callKey{a[0], controlLeg}, tag.tag, tag.media); err != nil {
			return "", codeFull
		}
		s.audio = true
	}
	s.notify = notify
	s.mark(m.mods.weak, owner)
	reply, code := c.apply(s, owner, m)
	if code != codeNone {
		if fresh {
			c.Engine.remove(s)
		}
		return "", code
	}
	if len(tags) > 1 && owner == 0 {
		s.toTag = strings.Clone(parseTag(tags[1]).tag)
	}
	return c.follow(s, owner, cmd, reply)
}

// lookup is L: the description of an answer; the tags are in the order of the offer.
func (c *Control) lookup(cmd controlCommand) (string, controlCode) {
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	a := cmd.args
	m, code := c.media(cmd.mods, a[1], a[2])
	if code != codeNone {
		return "", code
	}
	s, offerer := c.session(a[0], a[3:])
	if s == nil {
		return "0", codeNone
	}
	if len(a) > 4 && offerer == 0 {
		s.toTag = strings.Clone(parseTag(a[4]).tag)
	}
	reply, code := c.apply(s, 1-offerer, m)
	if code != codeNone {
		return "", code
	}
	return c.follow(s, 1-offerer, cmd, reply)
}

// apply hands a description of the party at owner to the session.
func (c *Control) apply(s *relaySession, owner uint8, m media) (string, controlCode) {
	u := update{owner: owner, cut: time.Duration(m.mods.cut) * time.Millisecond, fresh: m.mods.fresh}
	var code controlCode
	if u.own, u.far, code = c.nets(s, &m.mods); code != codeNone {
		return "", code
	}
	u.party = party{
		signal: netip.AddrPortFrom(m.addr, m.port),
		source: m.addr,
		asym:   m.mods.asym,
		any:    !c.Strict,
		hold:   m.addr.IsUnspecified(),
		quiet:  m.addr.IsUnspecified(),
		deaf:   m.addr.IsUnspecified(),
	}
	if m.mods.codecs != "" {
		s.codecs[owner] = strings.Clone(m.mods.codecs)
	}
	u.ptime = u.cut
	a, err := s.apply(u)
	if err != nil {
		return "", codePorts
	}
	return portReply(a), codeNone
}

// portReply is "PORT ADDR", with the family when it is IPv6.
func portReply(a netip.AddrPort) string {
	reply := strconv.Itoa(int(a.Port())) + " " + a.Addr().String()
	if a.Addr().Is6() {
		reply += " 6"
	}
	return reply
}

// nets chooses the interfaces of a new session: the first letter is the side of the party whose description this is, the second
// the other side. Without letters both are on the first interface of the family.
func (c *Control) nets(s *relaySession, m *updateMods) (own, far *relayNet, code controlCode) {
	e := c.Engine
	own = e.netOf(m.six)
	if own == nil {
		own = e.set.nets[0]
	}
	switch {
	case m.label != "" && e.netNamed(m.label) == nil:
		return nil, nil, codeNoLocal
	case s.sides[0].net != nil: // they have their ports already
		return own, own, codeNone
	case m.label != "":
		own = e.netNamed(m.label)
	case m.local != "":
		if own = e.netAt(m.local); own == nil {
			return nil, nil, codeNoLocal
		}
	case m.route != "":
		if own = e.netTowards(m.route); own == nil {
			return nil, nil, codeNoRoute
		}
	}
	far = own
	for i := range m.sides {
		n := e.set.nets[b2i(m.sides[i] == 'E')]
		if i == 0 {
			own = n
		} else {
			far = n
		}
	}
	return own, far, codeNone
}

func (e *Embedded) netAt(addr string) *relayNet {
	for _, n := range e.set.nets {
		if n.Addr.String() == addr || n.public().String() == addr {
			return n
		}
	}
	return nil
}

// netTowards asks the routing table; connecting a UDP socket sends nothing.
func (e *Embedded) netTowards(addr string) *relayNet {
	conn, err := net.Dial("udp", net.JoinHostPort(addr, "9"))
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if n := e.netAt(local.String()); n != nil || !local.IsLoopback() {
		return n
	}
	return e.netOf(local.Is6()) // all of 127.0.0.0/8 is this host
}

// matching lists the sessions that a pair of tags, in either order, names; without a number: all streams.
func (c *Control) matching(callID string, tags []string) (found []*relaySession, side uint8) {
	call := c.Engine.calls[callKey{callID, controlLeg}]
	if call == nil {
		return nil, 0
	}
	for i, t := range tags[:min(2, len(tags))] {
		tag := parseTag(t)
		for _, s := range call.sessions {
			if s.fromTag == tag.tag && (tag.media == 0 || s.media == tag.media) {
				found = append(found, s)
			}
		}
		if found != nil {
			return found, uint8(i)
		}
	}
	return nil, 0
}

// mark and clear keep the marks of weak sessions: one lives while it has any.
func (s *relaySession) mark(weak bool, side uint8) {
	if weak {
		s.marks |= 1 << side
		return
	}
	s.marks |= strongMark
}

const strongMark = 4

func (s *relaySession) clear(weak bool, side uint8) bool {
	if weak {
		s.marks &^= 1 << side
	} else {
		s.marks &^= strongMark
	}
	return s.marks == 0
}

func (c *Control) delete(cmd controlCommand) (string, controlCode) {
	weak := strings.EqualFold(cmd.mods, "w")
	if len(cmd.args) < 2 || len(cmd.args) > 3 {
		return "", codeWords
	}
	if cmd.mods != "" && !weak {
		return "", codeModD
	}
	return c.each(cmd, func(s *relaySession, side uint8) controlCode {
		if s.clear(weak, side) {
			c.Engine.remove(s)
		}
		return codeNone
	})
}

// each does f to every session that a command of a Call-ID, a tag and perhaps another names.
func (c *Control) each(cmd controlCommand, f func(s *relaySession, side uint8) controlCode) (string, controlCode) {
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	found, side := c.matching(cmd.args[0], cmd.args[1:])
	if found == nil {
		return "", codeSession
	}
	for _, s := range found {
		if code := f(s, side); code != codeNone {
			return "", code
		}
	}
	return "0", codeNone
}

// deleteEverything is X: every session of Control.
func (c *Control) deleteEverything() {
	e := c.Engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, call := range e.calls {
		if k.leg != controlLeg {
			continue
		}
		for _, s := range append([]*relaySession(nil), call.sessions...) {
			e.remove(s)
		}
	}
}

// play is P[count] callid file codecs|session tag [tag]: to the party that the first tag names.
func (c *Control) play(cmd controlCommand) (string, controlCode) {
	if len(cmd.args) < 4 || len(cmd.args) > 5 {
		return "", codeWords
	}
	times := 1
	if cmd.mods != "" {
		n, err := strconv.ParseInt(cmd.mods, 10, 32)
		if err != nil || n < -1 {
			return "", codeCount
		}
		times = int(n)
	}
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	s, side := c.session(cmd.args[0], cmd.args[3:])
	if s == nil {
		return "", codeSession
	}
	formats := s.codecs[side]
	if cmd.args[2] != "session" {
		formats = strings.ReplaceAll(cmd.args[2], ",", " ")
	}
	if formats == "" {
		return "", codeModU
	}
	if times == 0 {
		s.silence(side)
		return "0", codeNone
	}
	if err := c.Engine.playTo(s, side, cmd.args[1], strings.Fields(formats), times); err != nil {
		return "", codePlayer
	}
	return "0", codeNone
}

func (s *relaySession) silence(side uint8) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.sides[side].stopPlay()
}

func (c *Control) stop(cmd controlCommand) (string, controlCode) {
	if cmd.mods != "" {
		return "", codeMods
	}
	if len(cmd.args) < 2 || len(cmd.args) > 3 {
		return "", codeWords
	}
	return c.each(cmd, func(s *relaySession, side uint8) controlCode {
		s.silence(side)
		return codeNone
	})
}

// record is R and N, which ends copies as well. Both legs always share a file here, so s and a change nothing.
func (c *Control) record(cmd controlCommand) (string, controlCode) {
	start := cmd.verb == 'R'
	if start && cmd.mods != "" && !strings.EqualFold(cmd.mods, "s") {
		return "", codeModR
	}
	if !start && cmd.mods != "" && !strings.EqualFold(cmd.mods, "a") {
		return "", codeModN
	}
	if len(cmd.args) < 2 || len(cmd.args) > 3 {
		return "", codeWords
	}
	return c.each(cmd, func(s *relaySession, _ uint8) controlCode {
		if !start {
			s.endRecording()
			s.endCopies()
			return codeNone
		}
		if err := c.Engine.startRecording(s); err != nil {
			return codeMemory
		}
		return codeNone
	})
}
