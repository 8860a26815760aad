package transaction

import (
	"testing"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// FuzzLayer brings any message that parses through both sides: nothing panics,
// a request is a copy of itself, and a response made for it finds its client transaction.
func FuzzLayer(f *testing.F) {
	f.Add([]byte(inviteText("z9hG4bKnashds8")))
	f.Add([]byte(lines("INVITE sip:b@y SIP/2.0", "Via: SIP/2.0/UDP h", "From: <sip:a@x>", "To: <sip:b@y>", "Call-ID: 1", "CSeq: 1 INVITE", "")))
	f.Add([]byte(lines("OPTIONS tel:1 SIP/2.0", "v: SIP / 2.0 / TLS h;branch=z9hG4bK;x=\"branch=\"", "f: <sip:a@x>;tag=1", "t: b;tag=2", "i: 1", "CSeq: 1 OPTIONS", "")))
	f.Add([]byte(lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "CSeq: 1 INVITE", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := sip.Parse(b)
		if err != nil {
			return
		}
		n := &fakeNetwork{}
		l := newLayer(Config{}, n)
		defer l.Close()
		switch m := m.(type) {
		case *sip.Response:
			if l.MatchResponse(m, transport.Flow{}) {
				t.Fatal("matches without a client")
			}
		case *sip.Request:
			fuzzServer(t, l, m)
			fuzzClient(t, l, m)
		}
	})
}

func fuzzServer(t *testing.T, l *Layer, m *sip.Request) {
	_, absorbed := l.MatchRequest(m, transport.Flow{})
	if absorbed {
		t.Fatal("absorbed by nothing")
	}
	if m.Method == sip.ACK {
		return
	}
	s, err := l.NewServer(m, transport.Flow{}, nil)
	if err != nil {
		return
	}
	for range 2 {
		if _, absorbed := l.MatchRequest(m, transport.Flow{}); !absorbed && m.URIError() == nil {
			t.Fatal("no copy of itself")
		}
		if m.Valid(sip.Limits{}) == nil {
			_ = s.Respond(sip.NewResponse(m, 486, "", "tag"))
		}
	}
}

func fuzzClient(t *testing.T, l *Layer, m *sip.Request) {
	if m.Valid(sip.Limits{}) != nil {
		return // what we send is valid
	}
	c, err := l.Request(m, transport.Flow{}, nil)
	if err != nil {
		return
	}
	c.Cancel("")
	for _, code := range []int{180, 486} {
		if !l.MatchResponse(sip.NewResponse(m, code, "", "tag"), transport.Flow{}) {
			t.Fatal("no match for its response")
		}
	}
}
