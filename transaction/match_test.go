package transaction

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// TestMatchRequest opens a transaction and looks another request up.
func TestMatchRequest(t *testing.T) {
	const modern = "SIP/2.0/UDP pc33.example;branch=z9hG4bKa1"
	const old = "SIP/2.0/UDP pc33.example:5060"
	type msg struct{ method, uri, via, from, to, callID, cseq string }
	base := msg{"INVITE", "sip:bob@biloxi.example", modern, "<sip:a@x>;tag=f", "<sip:b@y>", "c1", "7"}
	oldBase := base
	oldBase.via = old
	bye := oldBase
	bye.method = "BYE"
	bye.to = "<sip:b@y>;tag=t0"
	const (
		none = iota
		copied
		cancels
	)
	for _, tc := range []struct {
		name  string
		open  msg
		edit  func(m *msg)
		final int // sent before the lookup
		want  int
	}{
		{"copy", base, func(*msg) {}, 0, copied},
		{"other branch", base, func(m *msg) { m.via += "x" }, 0, none},
		{"branch in other case", base, func(m *msg) { m.via = strings.Replace(m.via, "a1", "A1", 1) }, 0, none},
		{"sent-by in other case", base, func(m *msg) { m.via = strings.Replace(m.via, "pc33", "PC33", 1) }, 0, copied},
		{"sent-by with default port", base, func(m *msg) { m.via = strings.Replace(m.via, ";", ":5060;", 1) }, 0, copied},
		{"other port", base, func(m *msg) { m.via = strings.Replace(m.via, ";", ":5070;", 1) }, 0, none},
		{"other host", base, func(m *msg) { m.via = strings.Replace(m.via, "33", "34", 1) }, 0, none},
		{"other method", base, func(m *msg) { m.method = "OPTIONS" }, 0, none},
		{"only the key counts", base, func(m *msg) { m.callID, m.uri, m.cseq = "c2", "sip:x@y", "8" }, 0, copied},
		{"CANCEL", base, func(m *msg) { m.method = "CANCEL" }, 0, cancels},
		{"CANCEL after a final", base, func(m *msg) { m.method = "CANCEL" }, 486, cancels},
		{"CANCEL with To tag", base, func(m *msg) { m.method, m.to = "CANCEL", "<sip:b@y>;tag=z" }, 0, cancels},
		{"CANCEL from elsewhere", base, func(m *msg) { m.method, m.via = "CANCEL", strings.Replace(m.via, "33", "34", 1) }, 0, none},
		{"ACK to a refusal", base, func(m *msg) { m.method = "ACK" }, 486, copied},
		{"ACK to a refusal, long after", base, func(m *msg) { m.method, m.to = "ACK", "<sip:b@y>;tag=any" }, 486, copied},
		{"ACK of another branch", base, func(m *msg) { m.method = "ACK"; m.via += "x" }, 486, none},

		{"2543 copy", oldBase, func(*msg) {}, 0, copied},
		{"2543 copy, default port left out", oldBase, func(m *msg) { m.via = "SIP/2.0/UDP pc33.example" }, 0, copied},
		{"2543 copy through another port of a NAT", oldBase, func(m *msg) { m.via += ";received=192.0.2.1;rport=7" }, 0, copied},
		{"2543 branch without cookie", oldBase, func(m *msg) { m.via += ";branch=1" }, 0, none},
		{"2543 Via with maddr", oldBase, func(m *msg) { m.via += ";maddr=224.2.0.1" }, 0, none},
		{"2543 other Request-URI", oldBase, func(m *msg) { m.uri = "sip:carol@biloxi.example" }, 0, none},
		{"2543 equal Request-URI", oldBase, func(m *msg) { m.uri = "sip:bob@BILOXI.example" }, 0, copied},
		{"2543 other From tag", oldBase, func(m *msg) { m.from = "<sip:a@x>;tag=g" }, 0, none},
		{"2543 with To tag", oldBase, func(m *msg) { m.to += ";tag=t" }, 0, none},
		{"2543 other Call-ID", oldBase, func(m *msg) { m.callID = "c2" }, 0, none},
		{"2543 Call-ID in other case", oldBase, func(m *msg) { m.callID = "C1" }, 0, none},
		{"2543 other CSeq", oldBase, func(m *msg) { m.cseq = "8" }, 0, none},
		{"2543 other method", oldBase, func(m *msg) { m.method = "OPTIONS" }, 0, none},
		{"2543 key, modern branch", oldBase, func(m *msg) { m.via = modern }, 0, none},
		{"bare cookie is no branch", msg{"INVITE", "sip:b@y", old + ";branch=z9hG4bK", "<sip:a@x>;tag=f", "<sip:b@y>", "c1", "7"}, func(m *msg) { m.callID = "c2" }, 0, none},
		{"bare cookie, copy", msg{"INVITE", "sip:b@y", old + ";branch=z9hG4bK", "<sip:a@x>;tag=f", "<sip:b@y>", "c1", "7"}, func(*msg) {}, 0, copied},
		{"2543 CANCEL", oldBase, func(m *msg) { m.method = "CANCEL" }, 0, cancels},
		{"2543 CANCEL with To tag", oldBase, func(m *msg) { m.method = "CANCEL"; m.to += ";tag=t" }, 0, cancels},
		{"2543 ACK", oldBase, func(m *msg) { m.method = "ACK"; m.to += ";tag=mine" }, 486, copied},
		{"2543 ACK with the tag of another response", oldBase, func(m *msg) { m.method = "ACK"; m.to += ";tag=his" }, 486, none},
		{"2543 ACK without tag", oldBase, func(m *msg) { m.method = "ACK" }, 486, none},
		{"2543 BYE", bye, func(*msg) {}, 200, copied},
		{"2543 BYE of another dialog", bye, func(m *msg) { m.to = "<sip:b@y>;tag=t1" }, 0, none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &fakeNetwork{}
			l := newLayer(Config{}, n)
			defer l.Close()
			parse := func(m msg) *sip.Request {
				r, err := sip.ParseRequest(lines(m.method+" "+m.uri+" SIP/2.0", "Via: "+m.via, "From: "+m.from, "To: "+m.to,
					"Call-ID: "+m.callID, "CSeq: "+m.cseq+" "+m.method, "Max-Forwards: 70", "Content-Length: 0", ""))
				require.NoError(t, err)
				return r
			}
			req := parse(tc.open)
			s, err := l.NewServer(req, transport.Flow{}, nil)
			require.NoError(t, err)
			if tc.final != 0 {
				require.NoError(t, s.Respond(sip.NewResponse(req, tc.final, "", "mine")))
			}
			m := tc.open
			tc.edit(&m)
			other := parse(m)
			tx, absorbed := l.MatchRequest(other, transport.Flow{})
			require.Equal(t, tc.want == copied, absorbed)
			require.Equal(t, tc.want != none, tx != nil)
			if tc.want == none && m.method != "ACK" {
				_, err := l.NewServer(other, transport.Flow{}, nil)
				require.NoError(t, err)
			}
			if tc.want == copied && m.method != "ACK" {
				_, err := l.NewServer(other, transport.Flow{}, nil)
				require.ErrorIs(t, err, ErrExists)
			}
		})
	}
}

// TestTable compares the table with a map, with hashes that collide.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var tab table[*Client]
	model := map[*Client]bool{}
	for range 20_000 {
		if grow := r.IntN(100) < 52; grow || len(model) == 0 {
			c := &Client{hash: uint64(r.IntN(50)) << r.IntN(3)}
			tab.insert(c.hash, c)
			model[c] = true
		} else {
			for c := range model {
				tab.remove(c.hash, c)
				tab.remove(c.hash, c) // not there any more
				delete(model, c)
				break
			}
		}
		require.Equal(t, len(model), tab.n)
		if r.IntN(100) == 0 {
			seen := map[*Client]bool{}
			tab.all(func(c *Client) { seen[c] = true })
			require.Equal(t, model, seen)
		}
	}
	for c := range model {
		found := false
		for d, i := tab.seek(c.hash, c.hash); d != nil; d, i = tab.seek(c.hash, i) {
			found = found || d == c
		}
		require.True(t, found)
		tab.remove(c.hash, c)
	}
	require.LessOrEqual(t, len(tab.cells), minCells, "the table shrinks")
}

func TestMatchResponse(t *testing.T) {
	n := &fakeNetwork{}
	l := newLayer(Config{}, n)
	defer l.Close()
	u := &user{}
	req := request(t, "INVITE", "z9hG4bKa1")
	_, err := l.Request(req, transport.Flow{}, u)
	require.NoError(t, err)
	_, err = l.Request(req, transport.Flow{}, u)
	require.ErrorIs(t, err, ErrExists)
	require.False(t, l.MatchResponse(reply(request(t, "INVITE", "z9hG4bKA1"), 180), transport.Flow{}))
	require.False(t, l.MatchResponse(reply(request(t, "CANCEL", "z9hG4bKa1"), 200), transport.Flow{}))
	require.False(t, l.MatchResponse(reply(request(t, "BYE", "z9hG4bKa1"), 200), transport.Flow{}))
	res := reply(req, 180)
	res.Del("Via")
	require.False(t, l.MatchResponse(res, transport.Flow{}))
	require.Empty(t, u.responses())
	require.True(t, l.MatchResponse(reply(req, 180), transport.Flow{}))
	require.Equal(t, []int{180}, u.responses())
}

func TestScanRequest(t *testing.T) {
	for _, tc := range []struct{ text, method, branch string }{
		{"INVITE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP i;branch=z9hG4bK2\r\n", "INVITE", "z9hG4bK1"},
		{"ACK sip:b@y SIP/2.0\r\nMax-Forwards: 70\r\nv : SIP / 2.0 / UDP h ; rport ; BRANCH = z9hG4bK1 ;x\r\n", "ACK", "z9hG4bK1"},
		{"BYE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/UDP i;branch=z9hG4bK2", "BYE", "z9hG4bK1"},
		{"BYE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1", "", ""},
		{"BYE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h;bra", "", ""},
		{"BYE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\nv: x;branch=z9hG4bK1\r\n", "", ""},
		{"BYE sip:b@y SIP/2.0\r\n\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "", ""},
		{"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "", ""},
		{"BYE sip:b@y SI", "", ""},
		{"\r\n\r\n", "", ""},
		{"", "", ""},
	} {
		method, branch := scanRequest([]byte(tc.text))
		if branch == "" {
			method = ""
		}
		require.Equal(t, tc.method, method, tc.text)
		require.Equal(t, tc.branch, branch, tc.text)
	}
}

func FuzzScanRequest(f *testing.F) {
	f.Add([]byte("INVITE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;x\r\n"))
	f.Add([]byte("BYE sip:b@y SIP/2.0\r\nv : SIP / 2.0 / UDP h ; BRANCH = z9hG4bK1 ,"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, branch := scanRequest(b)
		if !strings.Contains(string(b), branch) {
			t.Fatal(branch)
		}
	})
}

func TestNewBranchAndTag(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		b, tag := NewBranch(), NewTag()
		require.True(t, hasBranch(b))
		require.Len(t, tag, tagLen)
		require.Equal(t, strings.ToLower(tag), tag)
		require.False(t, seen[b] || seen[tag])
		seen[b], seen[tag] = true, true
	}
	var kept string
	require.InDelta(t, 1, testing.AllocsPerRun(100, func() { kept = NewBranch() }), 0.1)
	require.NotEmpty(t, kept)
}
