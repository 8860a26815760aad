package siptest_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func ladder() *siptest.Ladder {
	l := &siptest.Ladder{Width: 24}
	l.Column("alice", "192.0.2.1")
	l.Column("proxy", "192.0.2.9")
	l.Column("bob", "192.0.2.2")
	a, p, b := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.9:5060"), netip.MustParseAddrPort("192.0.2.2:5060")
	start := time.Unix(0, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	response := func(line, method string) string {
		return "SIP/2.0 " + line + "\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 1 " + method + "\r\n\r\n"
	}
	l.Add(siptest.Arrow{Time: at(0), From: a, To: p, Text: "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\r\nv=0\r\n"})
	l.Add(siptest.Arrow{Time: at(1), From: p, To: a, Text: response("100 Trying", "INVITE")})
	l.Add(siptest.Arrow{Time: at(1), From: p, To: b, Text: "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\r\n", Lost: true, Note: "lost"})
	l.Add(siptest.Arrow{Time: at(501), From: p, To: b, Text: "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\r\n"})
	l.Add(siptest.Arrow{Time: at(1501), From: b, To: p, Text: response("200 OK", "INVITE"), Note: "tcp"})
	l.Add(siptest.Arrow{Time: at(1502), From: b, To: a, Text: response("302 Moved Temporarily", "INVITE")})
	l.Add(siptest.Arrow{Time: at(1503), From: a, To: b, Text: "ACK sip:a-very-long-name-indeed-that-does-not-fit@192.0.2.2 SIP/2.0\r\n\r\n"})
	l.Add(siptest.Arrow{Time: at(1600), From: p, To: p, Text: "OPTIONS sip:192.0.2.9 SIP/2.0\r\n\r\n"})
	l.Add(siptest.Arrow{Time: at(61600), From: netip.MustParseAddrPort("192.0.2.7:1"), To: a, Text: "(12 bytes)"})
	l.Add(siptest.Arrow{Time: at(61600), From: b, To: p, Text: response("486 Busy Here", "INVITE"), Lost: true, Note: "cut off"})
	return l
}

func TestLadder(t *testing.T) {
	golden(t, "ladder.txt", ladder().String())
	l := ladder()
	l.Color, l.Messages = true, true
	golden(t, "ladder_colour.txt", l.String())
}

func TestLadderOfANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := &siptest.Network{T: t}, &siptest.Ladder{}
		l.Column("alice", "192.0.2.1")
		l.Column("bob", "192.0.2.2")
		l.Watch(n)
		n.SetLink("", "", siptest.Link{Delay: 10 * time.Millisecond, Drop: func(p siptest.Packet) bool { return p.N == 1 }})
		alice, bob := phone(t, n, "alice", "192.0.2.1", transport.UDP), phone(t, n, "bob", "192.0.2.2", transport.UDP)
		defer alice.Close()
		defer bob.Close()
		call := alice.Call(t, bob.Contact())
		alice.Proto = transport.TCP
		call.Start("INFO").Expect(200)
		alice.Request(t, "OPTIONS", "sip:192.0.2.2:5060").Expect(200)
		alice.SendTo("192.0.2.2:9", "OPTIONS sip:nobody SIP/2.0\n\n")
		alice.Proto = transport.UDP
		alice.SendTo("192.0.2.2:9", "OPTIONS sip:nobody SIP/2.0\n\n")
		call.Bye()
		golden(t, "ladder_network.txt", l.String())
	})
}
