package siptest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

type streamKey struct{ from, to netip.AddrPort }

// A stream collects the bytes of one direction of a connection until they are messages.
type stream struct {
	buf  []byte
	hint int
	lost bool // framing, or never SIP
}

// Watch feeds the ladder with everything that a network carries.
func (l *Ladder) Watch(n *Network) { n.Tap(l.packet) }

func (l *Ladder) packet(p Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.Proto == transport.TCP {
		l.bytes(p)
		return
	}
	if i, ok := l.byN[p.N]; ok { // what was on its way did not arrive
		l.arrows[i].Lost, l.arrows[i].Note = true, p.Lost
		return
	}
	if l.byN == nil {
		l.byN = make(map[uint64]int)
	}
	l.byN[p.N] = len(l.arrows)
	l.arrows = append(l.arrows, Arrow{Time: p.Time, From: p.From, To: p.To, Text: textOf(p.Data), Note: p.Lost, Lost: p.Lost != ""})
}

// textOf shows what is no text by its length.
func textOf(b []byte) string {
	for _, c := range b {
		if c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			return fmt.Sprintf("(%d bytes)", len(b))
		}
	}
	if len(b) <= 4 {
		return "(keepalive)"
	}
	return string(b)
}

func (l *Ladder) bytes(p Packet) {
	k := streamKey{p.From, p.To}
	if l.streams == nil {
		l.streams = make(map[streamKey]*stream)
	}
	s := l.streams[k]
	if s == nil {
		s = &stream{}
		l.streams[k] = s
	}
	add := func(text, note string) {
		l.arrows = append(l.arrows, Arrow{Time: p.Time, From: p.From, To: p.To, Text: text, Note: note})
	}
	s.buf = append(s.buf, p.Data...)
	for !s.lost && len(s.buf) > 0 {
		m, n, _, next, err := sip.Scan(s.buf, sip.Limits{}, s.hint)
		switch {
		case err != nil:
			s.lost = true
		case n == 0:
			s.hint = next
			return
		case m == nil:
			add("(keepalive)", "tcp")
		default:
			add(m.String(), "tcp")
		}
		if err == nil {
			s.buf, s.hint = s.buf[n:], 0
		}
	}
	if s.lost {
		add(textOf(s.buf), "tcp")
		s.buf = nil
	}
}

// Tap gives the ladder what a server sends and receives; it fits sipproxy.Server.Tap and knows whole messages whatever the
// transport.
func (l *Ladder) Tap(p transport.Packet) {
	from, to := p.Remote, p.Local
	if p.Out {
		from, to = to, from
	}
	at := p.Time
	if at.IsZero() {
		at = time.Now()
	}
	note := p.Remote.Proto.String()
	if p.Remote.Proto == transport.UDP {
		note = ""
	}
	l.Add(Arrow{Time: at, From: from.AddrPort, To: to.AddrPort, Text: string(p.Data), Note: note})
}
