package rtprelay

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// maxMedia bounds the media descriptions of one body; each one costs a session at the engine.
const maxMedia = 32

// maxSDP is the longest body: what a datagram carries, and what offsets of two bytes reach.
const maxSDP = 65535

// marker tells relays on the way that one is engaged already.
const marker = "a=nortpproxy:yes"

// A Direction of a stream as its sender sees it, RFC 8866 section 6.7.
type Direction uint8

// The directions. The zero value is what holds where nothing is said.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// Media is one m= section of a description.
type Media struct {
	Type      string         // audio, video, image ...
	Proto     string         // RTP/AVP, udptl ...
	Formats   string         // the payload types, blank-separated, as written
	Port      uint16         // 0: the stream is refused or switched off
	Addr      netip.Addr     // of its own c= or the session's; invalid for a host name or when there is none
	RTCP      netip.AddrPort // explicit a=rtcp (RFC 3605); Port 0: none, Addr invalid: the same as Addr
	Mux       bool           // a=rtcp-mux (RFC 5761)
	ICE       bool           // has candidates of its own
	Direction Direction
	PTime     uint16 // a=ptime in milliseconds; 0: not said

	ownConn bool // has a c= of its own
}

// Relayed says whether a relay can carry the stream: it is switched on and runs over UDP. TCP/MSRP and
// the like are left alone.
func (m *Media) Relayed() bool {
	return m.Port != 0 && (hasFold(m.Proto, "RTP/") || hasFold(m.Proto, "UDP"))
}

// Held is the hold of RFC 2543: connection address 0.0.0.0 or "::". Such an address is never rewritten.
func (m *Media) Held() bool { return m.Addr.IsValid() && m.Addr.IsUnspecified() }

// A Description is a session description (RFC 8866) taken apart just enough to rewrite it. It keeps its text
// and does not change after ParseSDP.
type Description struct {
	Media  []Media
	Addr   netip.Addr // session-level c=; invalid for a host name or when there is none
	Marked bool       // carries a=nortpproxy:yes

	bareLF bool // lines end without a carriage return

	conn0, conn1 uint16 // the session-level c= line in text
	text         string
	lines        []line
	media0       [1]Media // room for the usual call without a further allocation, in one of 352 bytes
	lines0       [10]line
}

// lineKind says what Rewrite does at a line.
type lineKind uint8

const (
	lineOrigin   lineKind = iota // o=
	lineConn                     // c=
	lineMedia                    // m=
	lineConnSlot                 // where a c= of the section may be added, RFC 8866 section 5: after m= and i=
	lineRTCP                     // a=rtcp:
	lineICE                      // any ICE attribute
	lineEnd                      // end of a section that says nothing of RTCP, which may have to be added
)

// line is a span that may have to change; all others are copied.
type line struct {
	start, next uint16 // whole line with its end
	v0, v1      uint16 // the value that is replaced
	media       int8   // index; -1 in the session part
	kind        lineKind
}

// ParseSDP takes a description apart. The error is ErrBadSDP, with a reason: the body is then to be passed as it is.
func ParseSDP(body string) (*Description, error) {
	if !strings.HasPrefix(body, "v=") {
		return nil, fmt.Errorf("%w: no v= line first", ErrBadSDP)
	}
	if len(body) > maxSDP {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrBadSDP, maxSDP)
	}
	d := &Description{text: body}
	d.Media, d.lines = d.media0[:0], d.lines0[:0]
	p := sdpParser{d: d}
	for at := 0; at < len(body); {
		end, next := len(body), len(body)
		if i := strings.IndexByte(body[at:], '\n'); i >= 0 {
			end, next = at+i, at+i+1
		}
		if end > at && body[end-1] == '\r' {
			end--
		} else if at == 0 && next > end {
			d.bareLF = true
		}
		if end-at >= 2 && body[at+1] == '=' {
			switch body[at] {
			case 'a':
				if !strings.HasPrefix(body[at:end], "a=rtpmap") { // as most are
					p.attribute(at, end, next)
				}
			case 'c':
				p.connection(at, end, next)
			case 'm':
				if err := p.media(at, end, next); err != nil {
					return nil, err
				}
			case 'o':
				p.origin(at, end, next)
			}
		}
		at = next
	}
	p.endSection(len(body))
	p.finish()
	return d, nil
}

func (d *Description) eol() string {
	if d.bareLF {
		return "\n"
	}
	return "\r\n"
}

type sdpParser struct {
	d     *Description
	cur   *Media // nil in the session part
	index int8
	dir   Direction
	dirOf [maxMedia]bool
}

func (p *sdpParser) add(kind lineKind, at, next, v0, v1 int) {
	media := int8(-1)
	if p.cur != nil {
		media = p.index
	}
	p.d.lines = append(p.d.lines, line{uint16(at), uint16(next), uint16(v0), uint16(v1), media, kind})
}

func (p *sdpParser) endSection(at int) {
	if p.cur != nil && p.cur.RTCP.Port() == 0 && !p.cur.Mux {
		p.add(lineEnd, at, at, at, at)
	}
}

// origin: o=<username> <sess-id> <sess-version> <nettype> <addrtype> <unicast-address>. User names with blanks
// exist in the field, so the line is read from its end.
func (p *sdpParser) origin(at, end, next int) {
	if p.cur != nil {
		return
	}
	text := p.d.text
	a0, a1 := lastWord(text, at+2, end)
	f0 := a0 - len("IP4 ")
	if !strings.HasSuffix(text[at+2:a0], " IN IP4 ") { // as nearly all have
		var f1 int
		f0, f1 = lastWord(text, at+2, a0)
		n0, n1 := lastWord(text, at+2, f0)
		if n0 == at+2 || text[n0:n1] != "IN" || !isFamily(text[f0:f1]) {
			return
		}
	}
	if a := text[a0:a1]; a == "0.0.0.0" || a == "::" { // as hold: it names nobody
		return
	}
	p.add(lineOrigin, at, next, f0, a1)
}

// connection: c=<nettype> <addrtype> <connection-address>
func (p *sdpParser) connection(at, end, next int) {
	text := p.d.text
	f0, a0 := at+5, at+9
	if !strings.HasPrefix(text[at:end], "c=IN IP4 ") { // as nearly all are
		n0, n1 := word(text, at+2, end)
		var f1 int
		f0, f1 = word(text, n1, end)
		if text[n0:n1] != "IN" || !isFamily(text[f0:f1]) {
			return
		}
		a0 = f1
	}
	a1 := end
	addr, ok := sip.IPv4(text[a0:a1])
	if !ok {
		if a0, a1 = word(text, a0, end); a0 == a1 {
			return
		}
		token, _, _ := strings.Cut(text[a0:a1], "/") // multicast TTL and count
		addr, _ = literal(token)
	}
	p.add(lineConn, at, next, f0, a1)
	if p.cur == nil {
		p.d.Addr, p.d.conn0, p.d.conn1 = addr, uint16(at), uint16(end)
		return
	}
	if !p.cur.ownConn {
		p.cur.Addr, p.cur.ownConn = addr, true
	}
}

// media: m=<media> <port>[/<number of ports>] <proto> <fmt> ...
func (p *sdpParser) media(at, end, next int) error {
	d, text := p.d, p.d.text
	p.endSection(at)
	if len(d.Media) == maxMedia {
		return fmt.Errorf("%w: more than %d m= lines", ErrBadSDP, maxMedia)
	}
	t0, t1 := word(text, at+2, end)
	p0, p1 := word(text, t1, end)
	r0, r1 := word(text, p1, end)
	if r0 == r1 {
		return fmt.Errorf("%w: m= line too short", ErrBadSDP)
	}
	port, ok := port16(text[p0:p1])
	if i := strings.IndexByte(text[p0:p1], '/'); !ok && i >= 0 {
		p1 = p0 + i
		port, ok = port16(text[p0:p1])
	}
	if !ok {
		return fmt.Errorf("%w: port %q", ErrBadSDP, text[p0:p1])
	}
	f0 := r1
	for f0 < end && isBlank(text[f0]) {
		f0++
	}
	p.index = int8(len(d.Media))
	d.Media = append(d.Media, Media{})
	m := &d.Media[p.index]
	m.Type, m.Proto, m.Port, m.Formats = text[t0:t1], text[r0:r1], port, text[f0:trimEnd(text, f0, end)]
	p.cur = m
	p.add(lineMedia, at, next, p0, p1)
	if strings.HasPrefix(text[next:], "i=") {
		if i := strings.IndexByte(text[next:], '\n'); i >= 0 {
			next += i + 1
		} else {
			next = len(text)
		}
	}
	p.add(lineConnSlot, next, next, next, next)
	return nil
}

func (p *sdpParser) attribute(at, end, next int) {
	attr := p.d.text[at+2 : end]
	for attr != "" && isBlank(attr[len(attr)-1]) {
		attr = attr[:len(attr)-1]
		end--
	}
	if attr == "" {
		return
	}
	switch attr[0] {
	case 'r':
		switch {
		case attr == "recvonly":
			p.direction(RecvOnly)
		case strings.HasPrefix(attr, "rtcp:") && p.cur != nil:
			p.rtcp(attr[5:], at, end, next)
		case attr == "rtcp-mux" && p.cur != nil:
			p.cur.Mux = true
		case strings.HasPrefix(attr, "remote-candidates:"):
			p.add(lineICE, at, next, at, at)
		}
	case 's':
		switch attr {
		case "sendrecv":
			p.direction(SendRecv)
		case "sendonly":
			p.direction(SendOnly)
		}
	case 'i':
		switch {
		case attr == "inactive":
			p.direction(Inactive)
		case strings.HasPrefix(attr, "ice-"):
			p.add(lineICE, at, next, at, at)
		}
	case 'c':
		if strings.HasPrefix(attr, "candidate:") {
			p.add(lineICE, at, next, at, at)
			if p.cur != nil {
				p.cur.ICE = true
			}
		}
	case 'e':
		if attr == "end-of-candidates" {
			p.add(lineICE, at, next, at, at)
		}
	case 'p':
		if v, ok := strings.CutPrefix(attr, "ptime:"); ok && p.cur != nil {
			for v != "" && isBlank(v[0]) {
				v = v[1:]
			}
			p.cur.PTime, _ = port16(v)
		}
	case 'n':
		if attr == marker[2:] {
			p.d.Marked = true
		}
	}
}

// rtcp: a=rtcp:<port> [<nettype> <addrtype> <address>], RFC 3605 section 2.1.
func (p *sdpParser) rtcp(v string, at, end, next int) {
	var addr netip.Addr
	port, ok := port16(v)
	if !ok {
		p0, p1 := word(v, 0, len(v))
		if port, ok = port16(v[p0:p1]); !ok {
			return
		}
		_, n1 := word(v, p1, len(v))
		_, f1 := word(v, n1, len(v))
		a0, a1 := word(v, f1, len(v))
		addr, _ = literal(v[a0:a1])
	}
	p.cur.RTCP = netip.AddrPortFrom(addr, port)
	p.add(lineRTCP, at, next, at+len("a=rtcp:"), end)
}

func (p *sdpParser) direction(dir Direction) {
	if p.cur == nil {
		p.dir = dir
		return
	}
	p.cur.Direction = dir
	p.dirOf[p.index] = true
}

// finish hands down what the session part says for all streams; it may stand after its m= in broken senders' bodies
// only for c=, which connection has seen by now.
func (p *sdpParser) finish() {
	d := p.d
	for i := range d.Media {
		m := &d.Media[i]
		if !p.dirOf[i] {
			m.Direction = p.dir
		}
		if !m.ownConn {
			m.Addr = d.Addr
		}
	}
}
