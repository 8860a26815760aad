package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// marksAgree wants what is read by marks to be what the parsers find in the same fields.
func marksAgree(t *testing.T, h *Header) {
	t.Helper()
	placesAgree(t, h)
	if l := (Limits{}); h.plainFields(&l, "", false) {
		require.Nil(t, h.checkFields(&l, "", false))
	}
	if s, ok := h.raw(idVia); ok {
		want, wantErr := firstVia(s)
		v, err := h.Via()
		require.Equal(t, wantErr, err)
		require.Equal(t, want, v)
		require.Equal(t, branchIn(s), h.Branch())
		if err == nil {
			b, _ := want.Params.Get("branch")
			require.Equal(t, b, h.Branch())
			require.Equal(t, b, v.Branch())
		}
	}
	from, _ := h.raw(idFrom)
	require.Equal(t, tagIn(from), h.FromTag())
	to, _ := h.raw(idTo)
	require.Equal(t, tagIn(to), h.ToTag())
	if s, ok := h.raw(idCSeq); ok {
		n, m, why := parseCSeq(s)
		seq, method, err := h.CSeq()
		require.Equal(t, why == "", err == nil)
		require.Equal(t, n, seq)
		require.Equal(t, m, method)
	}
	for _, f := range h.list() {
		switch {
		case f.id == idVia && h.via(&f) != nil:
			n, why := checkVias(h.value(&f))
			require.Empty(t, why)
			require.Equal(t, n > 1, h.via(&f).list)
		case f.at == h.from.at, f.at == h.to.at:
			require.Empty(t, checkAddr(h.value(&f)))
		}
	}
}

func TestMarksVia(t *testing.T) {
	for _, tc := range []struct {
		via   string
		plain bool
	}{
		{"SIP/2.0/UDP h", true},
		{"SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1;received=192.0.2.1", true},
		{"SIP/2.0/TLS [2001:db8::1]:5061;Branch=z9hG4bK1", true},
		{"SIP/2.0/UDP h;branch;branch=z9hG4bK1", true},
		{"SIP/2.0/UDP h;branch=a;branch=b", true},
		{"SIP/2.0/UDP h;xbranch=1;branc=2", true},
		{"SIP/2.0/UDP h;branch=a=b", true},
		{"SIP/2.0/UDP h:5060;branch=", false},
		{"SIP/2.0/UDP h;branch=;x", false},
		{"SIP/2.0/UDP h; branch = z9hG4bK1 ;x", false},
		{"SIP/2.0/UDP h;x=\";branch=a\";branch=z9hG4bK1", false},
		{"SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i;branch=2", true},
		{"SIP/2.0/TCP h:5070,SIP/2.0/UDP i;x;branch=2,SIP/2.0/TLS [2001:db8::1]", true},
		{"SIP/2.0/UDP h;branch=1,  SIP/2.0/UDP i;branch=2", false},
		{"SIP/2.0/UDP h;branch=1 ,SIP/2.0/UDP i;branch=2", false},
		{"SIP/2.0/UDP h;branch=1, SIP/2.0/UDP ;branch=2", false},
		{"SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i;x=\"a,b\"", false},
		{"SIP/2.0/UDP h;x=\"a,b\";branch=1, SIP/2.0/UDP i", false},
		{"SIP/2.0/UDP h;x=<a, SIP/2.0/UDP i;x=b>;branch=2", false},
		{"SIP/2.0/UDP h;branch=1, ", false},
		{"SIP/2.0/UDP h;branch=1,,SIP/2.0/UDP i;branch=2", false},
		{", SIP/2.0/UDP h;branch=1", false},
		{"SIP / 2.0 / UDP h;branch=1", false},
		{"SIP/2.0/UDP\th;branch=1", false},
		{"SIP/2.0/UDP h:0", false},
		{"SIP/2.0/UDP h:65535;branch=1", true},
		{"SIP/2.0/UDP h:65536;branch=1", false},
		{"SIP/2.0/UDP h:70000", false},
		{"SIP/2.0/UDP h:123456;branch=1", false},
		{"SIP/2.0/UDP h;branch=a;x=", false},
		{"SIP/2.0/UDP h;branch=a;rport;", false},
		{"SIP/2.0/TCP h;branch=a", true},
		{"SIP/2.0/UDP  h;branch=a", false},
		{"SIP/2.0/UDP h x", false},
		{"SIP/2.0/UDP ;branch=1", false},
		{"SIP/2.0/UDP h;;branch=1", false},
		{"SIP/2.0/ h", false},
		{"SIP/2.0/UDP", false},
		{"SIP/2.0/" + strings.Repeat("X", 300) + " h;branch=1", false},
		{"", false},
	} {
		r, err := ParseRequest("OPTIONS sip:a SIP/2.0\r\nVia: " + tc.via + "\r\nVia: SIP/2.0/UDP second;branch=2\r\n\r\n")
		require.NoError(t, err)
		h := r.Head()
		require.Equal(t, tc.plain, h.via(&h.list()[0]) != nil, tc.via)
		marksAgree(t, h)
		r.SetViaReceived("192.0.2.9", 4711)
		marksAgree(t, h)
		for range 4 {
			r.PopVia()
			marksAgree(t, h)
		}
		require.False(t, h.Has("Via"))
	}
}

// A line with several Vias loses them one by one, and what is left of it is as plain as it was.
func TestPopViaOfList(t *testing.T) {
	r, err := ParseResponse("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=1, SIP/2.0/TCP b:5070;branch=2,SIP/2.0/TLS c;branch=3\r\nVia: SIP/2.0/UDP d;branch=4\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	require.NoError(t, err)
	require.True(t, r.plainFields(&Limits{}, "", false))
	require.Equal(t, "1", r.Branch())
	for _, left := range []string{
		"Via: SIP/2.0/TCP b:5070;branch=2,SIP/2.0/TLS c;branch=3\r\nVia: SIP/2.0/UDP d;branch=4\r\n",
		"Via: SIP/2.0/TLS c;branch=3\r\nVia: SIP/2.0/UDP d;branch=4\r\n",
		"Via: SIP/2.0/UDP d;branch=4\r\n",
		"",
	} {
		require.True(t, r.PopVia())
		require.Equal(t, "SIP/2.0 200 OK\r\n"+left+"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", r.String())
		if left != "" {
			require.NotNil(t, r.via(&r.list()[0]), left)
			require.Nil(t, r.Valid(Limits{}))
		}
		marksAgree(t, r.Head())
	}
	require.False(t, r.PopVia())
}

// However they are spread over lines, Vias count one by one.
func TestMostVias(t *testing.T) {
	for _, lines := range []string{"Via: %s\r\nVia: %s\r\nVia: %s\r\n", "Via: %s, %s,%s\r\n", "Via: %s\r\nVia: %s,%s\r\n"} {
		for _, via := range []string{"SIP/2.0/T hh", "SIP/2.0/UDP some.host.example:5060;branch=z9hG4bK0123456789abcdef"} {
			r, err := ParseResponse("SIP/2.0 200 OK\r\n" + fmt.Sprintf(lines, via, via, via) +
				"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
			require.NoError(t, err)
			require.Nil(t, r.Valid(Limits{}))
			require.True(t, r.plainFields(&Limits{Vias: 70}, "", false))
			require.Nil(t, r.Valid(Limits{Vias: 3}))
			require.NotNil(t, r.Valid(Limits{Vias: 2}))
		}
	}
}

func TestMarksTag(t *testing.T) {
	for _, tc := range []struct {
		from, tag string
		plain     bool
	}{
		{"<sip:a@b>;tag=1", "1", true},
		{`"A B" <sip:a@b;tag=no>;x;TAG=1;tag=2`, "1", true},
		{"A <sip:b>;tag;tag=2", "", true},
		{"<sip:a@b>", "", true},
		{"<sip:a@b>;tag=a>b", "a>b", true},
		{"sip:a@b;tag=1", "1", false},
		{"<sip:a@b> ;tag=1", "1", false},
		{"<sip:a@b>;tag=", "", false},
		{"<sip:a@b>;tag=1;tag=2", "1", true},
		{"<sip:a@b>;tag=1;x=", "1", false},
		{`"A"<sip:a@b>;tag=1`, "1", true},
		{`"A"  <sip:a@b>;tag=1`, "1", true},
		{"<sip:a@b:123456>;tag=1", "1", false},
		{`<sip:a@b>;x=";tag=1";tag=2`, "2", false},
		{"<sip:a@b>;tag = 1", "1", false},
		{"<tel:1>;tag=1", "1", false},
		{"<sip:a@b>x;tag=1", "1", false},
		{"<sip:a@b>;tag=1;;", "1", false},
	} {
		r, err := ParseRequest("OPTIONS sip:a SIP/2.0\r\nFrom: " + tc.from + "\r\nTo: " + tc.from + "\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, tc.plain, r.from.at != 0, tc.from)
		require.Equal(t, tc.plain, r.to.at != 0, tc.from)
		require.Equal(t, tc.tag, r.FromTag(), tc.from)
		require.Equal(t, tc.tag, r.ToTag(), tc.from)
		marksAgree(t, r.Head())
	}
}

// Marks follow the edits of a message on its way, those of one made from another included.
func TestMarksOfEdits(t *testing.T) {
	r, err := ParseRequest("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP i;branch=z9hG4bK2\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n")
	require.NoError(t, err)
	r.SetViaReceived("192.0.2.9", 4711)
	marksAgree(t, r.Head())
	require.NotNil(t, r.via(&r.list()[0]))

	c := r.Clone()
	c.PushVia(Via{Transport: "UDP", Host: "p", Params: ";branch=z9hG4bKp"})
	require.Equal(t, "z9hG4bKp", c.Branch())
	marksAgree(t, c.Head())
	c.PopVia()
	require.Equal(t, r.Branch(), c.Branch())
	marksAgree(t, c.Head())

	res := NewResponse(r, 200, "", "tag") // another arena, in which other lines lie at the same places
	marksAgree(t, res.Head())
	require.Equal(t, "tag", res.ToTag())
	require.Equal(t, r.Branch(), res.Branch())
	res.Set("From", "<sip:x@y>;tag=new")
	require.Equal(t, "new", res.FromTag())
	res.Set("Via", "SIP/2.0/UDP other;branch=z9hG4bKo")
	require.Equal(t, "z9hG4bKo", res.Branch())
}

// The Vias of a line are taken off one by one; what was learnt of the second when the line was read holds until then.
func TestMarksViaList(t *testing.T) {
	const one, two, three = "SIP/2.0/UDP a;branch=z9hG4bK1", "SIP/2.0/TCP b:5070;rport;branch=z9hG4bK22", "SIP/2.0/TLS c;received=192.0.2.1;branch=z9hG4bK3"
	for _, lines := range [][]string{
		{one + ", " + two}, {one + "," + two}, {one + ", " + two + ", " + three}, {one + ", " + two, three}, {one, two + "," + three}, {one + ", " + two, three + "," + one},
		{one + ", " + two, three + " "}, {one + ", " + two, "bad"}, {one + ", bad"}, {one + ",  " + two}, {one + ", " + two + ","}, {"bad", one + ", " + two},
	} {
		for _, edit := range []func(h *Header){
			func(*Header) {},
			func(h *Header) { h.SetViaReceived("192.0.2.7", 5099) },
			func(h *Header) { h.PushVia(Via{Transport: "UDP", Host: "p", Params: ";branch=z9hG4bK0"}) },
			func(h *Header) { h.PushViaText(NewViaText(Via{Transport: "UDP", Host: "p"}), []byte("z9hG4bK0")) },
			func(h *Header) { h.ReplaceFirst("Via", one) },
			func(h *Header) { h.Set("To", "<sip:t>;tag=long enough to go where it has to") },
		} {
			res, err := ParseResponse("SIP/2.0 200 OK\r\nVia: " + strings.Join(lines, "\r\nv: ") + "\r\nFrom: <sip:f>;tag=1\r\nTo: <sip:t>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n")
			require.NoError(t, err)
			edit(res.Head())
			for n := 0; n < 6; n++ {
				marksAgree(t, res.Head())
				again, err := ParseResponse(res.Clone().String())
				require.NoError(t, err)
				require.Equal(t, again.Branch(), res.Branch())
				require.Equal(t, again.Valid(Limits{Vias: 2}) == nil, res.Valid(Limits{Vias: 2}) == nil)
				require.Equal(t, again.Valid(Limits{Vias: 1}) == nil, res.Valid(Limits{Vias: 1}) == nil)
				res.PopVia()
				marksAgree(t, res.Clone().Head())
			}
		}
	}
}

func TestPushViaText(t *testing.T) {
	r, err := ParseRequest("OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1.0a.0, SIP/2.0/UDP i;branch=z9hG4bK2\r\n\r\n")
	require.NoError(t, err)
	require.True(t, r.ViasContain(".0a."))
	require.True(t, r.ViasContain("4bK2"))
	require.False(t, r.ViasContain(".0b."))
	p := NewViaText(Via{Transport: "TCP", Host: "p", Port: 5070})
	r.PushViaText(p, []byte("z9hG4bK\r\n3.0c"))
	require.Equal(t, "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP p:5070;branch=z9hG4bK  3.0c\r\n"+
		"v: SIP/2.0/UDP h;branch=z9hG4bK1.0a.0, SIP/2.0/UDP i;branch=z9hG4bK2\r\nContent-Length: 0\r\n\r\n", r.String())
	r.PopVia()
	r.PushViaText(p, []byte("z9hG4bK3.0c"))
	require.Equal(t, "z9hG4bK3.0c", r.Branch())
	require.NotNil(t, r.via(&r.list()[0]))
	require.True(t, r.ViasContain(".0c"))
	require.False(t, r.ViasContain("5070")) // a plain Via is searched in its branch
	marksAgree(t, r.Head())
}

// A branch is taken as it is only when nothing in it could end the value.
func TestPushViaTextOdd(t *testing.T) {
	for _, via := range []Via{
		{Transport: "UDP", Host: "[2001:db8::1]", Port: 5060}, {Transport: "TLS", Host: "p"}, {Transport: "UDP", Host: "p", Params: ";rport"}, {Transport: "UDP", Host: "p q"},
		{Transport: "UDP", Host: "p,q"}, {Transport: "UDP", Host: "p", Params: ";x=y,SIP/2.0/UDP h"},
	} {
		p := NewViaText(via)
		for _, branch := range []string{
			"", "z9hG4bK", "z9hG4bK1", "z9hG4bK0123.4567", "z9hG4bK0123;i=5060", "z9hG4bK;i=5060", "z9hG4bK,0123456", "z9hG4bK\"0123456", "z9hG4bK 0123456",
			"0123456z9hG4bK\t", "z9hG4bK\x7f012345", "z9hG4bK\x80012345", "z9hG4bK0123456;", strings.Repeat("b", 255), strings.Repeat("b", 256),
		} {
			r, err := ParseRequest("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n")
			require.NoError(t, err)
			r.PushViaText(p, []byte(branch))
			marksAgree(t, r.Head())
			again, err := ParseRequest(r.String())
			require.NoError(t, err)
			require.Equal(t, again.Branch(), r.Branch(), "%v %q", via, branch)
		}
	}
}
