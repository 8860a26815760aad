package sip

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Parts of the messages that FuzzEdits puts together, and what it writes into them.
var (
	someVias = []string{
		"SIP/2.0/UDP a;branch=z9hG4bK1", "SIP/2.0/TCP b:5070;rport;branch=z9hG4bK22;received=192.0.2.1", "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK333",
		"SIP/2.0/UDP c", "SIP/2.0/UDP  d;branch=z9hG4bK4", "SIP / 2.0 / UDP e ;branch = z9hG4bK5", "SIP/2.0/UDP f;x=\"a,b\";branch=z9hG4bK6", "SIP/2.0/UDP g;branch=\"q,r\"", "bad",
		"SIP/2.0/UDP h\r\n ;branch=z9hG4bK8", "SIP/2.0/UDP\ti;branch=z9hG4bK9", "SIP/2.0/WS j;Branch=z9hG4bKa;i=5060", "SIP/2.0/UDP k;x=<y", "SIP/2.0/UDP l;x=y>;branch=z9hG4bKb", "",
		"SIP/2.0/UDP m;branch=", "SIP/2.0/UDP [::1];branch;branch=z9hG4bKc", "SIP/2.0/T n", "SIP/2.0/UDP o;x='y;branch=z9hG4bKd",
	}
	someCommas = []string{",", ", ", " ,", ",\t", ",\r\n ", ",  ", ",,", "\r\nVia: ", "\r\nv:", "\r\nVIA : ", "\r\nSubject: s\r\nVia: "}
	someAddrs  = []string{
		"<sip:a@b>", "<sip:a@b>;tag=1", "\"A, B\" <sip:a@b>;tag=2", "sip:a@b;tag=3", "<sip:a@b>; tag=4", "<sip:a@b;tag=no>;x=\";tag=no\";tag=5", "A <sip:b>;x;TAG=6", "<sip:a@b>\r\n ;tag=7",
		"<sip:a@b>;tag=8;tag=9", "<tel:1>;tag=a", "<sip:a@[::1]>;tag=b", "", "<sip:a@b>;tag",
	}
	someBranches = []string{"z9hG4bK0123456.7", "z9hG4bK", "z9hG4bKs12345678;i=5060", "z9hG4bK,SIP/2.0/UDP z", "z9hG4bK\r\n12345", "", "z9hG4bK\"1234567", strings.Repeat("b", 300)}
	someFields   = []string{"Via", "v", "From", "t", "Route", "Contact", "Call-ID", "CSeq", "Content-Length", "X-Other", "Max-Forwards", "Max-Breadth"}
)

// FuzzEdits makes a message and edits it, both as plan says, and wants what a message knows of itself to be what one finds who reads what was sent.
func FuzzEdits(f *testing.F) {
	d := rand.New(rand.NewPCG(1, 2))
	for range 64 {
		plan := make([]byte, 16+d.IntN(60))
		for i := range plan {
			plan[i] = byte(d.Uint32())
		}
		f.Add(plan)
	}
	f.Fuzz(editsAgree)
}

func editsAgree(t *testing.T, plan []byte) {
	p := planned{plan}
	m, err := ParseString(p.text())
	require.NoError(t, err)
	p.look(t, m)
	spare := NewRequest(OPTIONS, MustParseURI("sip:x")).Clone()
	for len(p.rest) > 0 {
		before, old := m.String(), m
		n := p.n(24)
		r, ok := m.(*Request)
		switch {
		case n == 0 && ok:
			m = r.Clone()
		case n == 0:
			m = m.(*Response).Clone()
		case n == 1 && ok:
			r.CloneInto(spare)
			m, spare = spare, r.Clone()
		case n == 2 && ok:
			m = NewResponse(r, 100+p.n(3)*50, "", pick(&p, "", "new"))
		default:
			p.edit(m.Head(), n)
		}
		p.look(t, m)
		if old != m {
			require.Equal(t, before, old.String())
		}
	}
}

// planned turns bytes into decisions.
type planned struct{ rest []byte }

func (p *planned) n(n int) int {
	if len(p.rest) == 0 {
		return 0
	}
	c := int(p.rest[0])
	p.rest = p.rest[1:]
	return c % n
}

func pick(p *planned, of ...string) string { return of[p.n(len(of))] }

// vias are some Vias, mostly one line or two of plain ones.
func (p *planned) vias() string {
	s := ""
	for n := p.n(5); ; n-- {
		if p.n(3) > 0 {
			s += someVias[p.n(3)]
		} else {
			s += pick(p, someVias...)
		}
		if n <= 0 {
			return s
		}
		if p.n(3) > 0 {
			s += someCommas[p.n(2)]
		} else {
			s += pick(p, someCommas...)
		}
	}
}

func (p *planned) text() string {
	start := pick(p, "OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK")
	s := start + "\r\nVia: " + p.vias() + "\r\nFrom: " + pick(p, someAddrs...) + "\r\nt: " + pick(p, someAddrs...)
	if p.n(4) == 0 {
		s += "\r\nRoute: <sip:r;lr>, <sip:s>"
	}
	s += "\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS"
	if p.n(8) == 0 {
		s += strings.Repeat("\r\nX-Other: y", 30) // more than lie in the message itself
	}
	return s + pick(p, "\r\nContent-Length: 0\r\n\r\n", "\r\n\r\n", "\r\nl: 2\r\n\r\nhi")
}

func (p *planned) edit(h *Header, n int) {
	name, value := pick(p, someFields...), ""
	switch lookupName(name) {
	case idVia:
		value = strings.TrimSpace(strings.ReplaceAll(p.vias(), "\r\n", ""))
	default:
		value = pick(p, someAddrs...)
	}
	switch n {
	case 3:
		h.Set(name, value)
	case 4:
		h.Add(name, value)
	case 5:
		h.Prepend(name, value)
	case 6:
		h.PrependFunc(name, func(b []byte) []byte { return append(b, value...) })
	case 7:
		h.AddFunc(name, func(b []byte) []byte { return append(b, value...) })
	case 8:
		h.Del(name)
	case 9:
		h.PopFirst(name)
	case 10:
		h.PopValues(name, 1+p.n(3))
	case 11:
		h.ReplaceFirst(name, value)
	case 12:
		of := byte(p.n(3))
		h.DelFunc(name, func(v string) bool { return len(v)%3 == int(of) })
	case 13, 14, 15:
		h.PopVia()
	case 16:
		h.PushVia(Via{Transport: "UDP", Host: "p", Params: ";branch=z9hG4bKp"})
	case 17, 18, 19:
		v := Via{Transport: "UDP", Host: pick(p, "p", "[2001:db8::2]", "p,q"), Port: uint16(p.n(2) * 5070)}
		h.PushViaText(NewViaText(v), []byte(pick(p, someBranches...)))
	case 20, 21:
		h.SetViaReceived(pick(p, "192.0.2.9", "", "2001:db8::9"), uint16(p.n(3)*1000))
	case 22:
		h.SetToTag(pick(p, "new", "a longer one than that"))
	default:
		h.SetMaxForwards(p.n(100))
		h.SetMaxBreadth(p.n(100))
	}
}

// look compares m with what its text says when it is read.
func (p *planned) look(t *testing.T, m Message) {
	marksAgree(t, m.Head())
	text := m.String()
	q, err := ParseString(text)
	require.NoError(t, err)
	a, b := m.Head(), q.Head()
	require.Equal(t, len(text), m.Len())
	require.Equal(t, text, q.String()+text[len(text)-b.Trailing():])
	require.Equal(t, fields(b), fields(a))
	marksAgree(t, b)
	via, err := a.Via()
	want, wantErr := b.Via()
	require.Equal(t, wantErr, err)
	require.Equal(t, want, via)
	require.Equal(t, b.Branch(), a.Branch())
	require.Equal(t, b.FromTag(), a.FromTag())
	require.Equal(t, b.ToTag(), a.ToTag())
	require.Equal(t, viasOf(b), viasOf(a))
	for _, l := range []Limits{{}, {Vias: 1}, {Vias: 2}, {Vias: 3}} {
		require.Equal(t, q.Valid(l), m.Valid(l))
		if q.Valid(l) == nil {
			require.LessOrEqual(t, len(viasOf(b)), l.vias())
		}
	}
}

func viasOf(h *Header) (s []string) {
	for v, err := range h.Vias() {
		if err != nil {
			return append(s, err.Error())
		}
		s = append(s, v.String())
	}
	return s
}
