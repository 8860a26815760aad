package rtprelay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// natted sets up a call whose descriptions name addresses that nothing comes from.
func natted(t *testing.T, e *Embedded, alice, bob netip.Addr) (toBob, toAlice netip.AddrPort) {
	t.Helper()
	dead := netip.MustParseAddrPort("10.1.2.3:4000")
	toAlice = offer(t, e, Params{Ref: Ref{CallID: "call", FromTag: "f"}, SDP: audioSDP(dead), Source: alice})
	toBob = answer(t, e, Params{Ref: testRef, SDP: audioSDP(dead), Source: bob})
	return toBob, toAlice
}

func strangers(t *testing.T, e *Embedded, n uint64) {
	t.Helper()
	until(t, func() bool { return e.Counters().Strangers == n })
}

func TestLatchThroughNAT(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
		toBob, toAlice := natted(t, e, alice.addr().Addr(), bob.addr().Addr())
		alice.say(toBob, "nobody hears this yet")
		until(t, func() bool { return e.Counters().Packets == 1 })
		bob.say(toAlice, "hello")
		alice.hears(toBob, "hello")
		alice.say(toBob, "hi")
		bob.hears(toAlice, "hi")
	})
}

func TestStrangerBeforeTheLock(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob, mallory := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.66")
	toBob, toAlice := natted(t, e, alice.addr().Addr(), bob.addr().Addr())
	mallory.say(toBob, "injected")
	mallory.say(toAlice, "injected")
	strangers(t, e, 2)
	bob.say(toAlice, "b")
	until(t, func() bool { return e.Counters().Packets == 3 }) // there is no order between the two sides
	alice.say(toBob, "a")
	bob.hears(toAlice, "a")
	bob.say(toAlice, "b2")
	alice.hears(toBob, "b2")
}

func TestStrangerAfterTheLock(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob, mallory := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.66")
		sameHost := newPhone(t, "127.0.0.11")
		toBob, toAlice := setCall(t, e, alice, bob)
		alice.say(toBob, "1")
		bob.hears(toAlice, "1")
		mallory.seq = alice.seq
		mallory.send(toBob, rtpPacket(0, alice.seq+1, 320, uint32(alice.addr().Port()), []byte("same SSRC")))
		mallory.say(toBob, "other SSRC")
		sameHost.say(toBob, "signalled port wins")
		strangers(t, e, 3)
		alice.say(toBob, "2")
		bob.hears(toAlice, "2")
		bob.say(toAlice, "back")
		alice.hears(toBob, "back")
	})
}

func TestSignalledAddressWinsTheWindow(t *testing.T) {
	e := newRelay(t, nil)
	alice, neighbour, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toBob, toAlice := setCall(t, e, alice, bob)
	neighbour.say(toBob, "first") // the same host, as through a NAT
	bob.hears(toAlice, "first")
	alice.say(toBob, "second")
	bob.hears(toAlice, "second")
	neighbour.say(toBob, "third")
	strangers(t, e, 1)
	bob.say(toAlice, "to alice")
	alice.hears(toBob, "to alice")
}

func TestLatchAny(t *testing.T) {
	e := newRelay(t, func(e *Embedded) { e.LatchAny = true })
	alice, bob, elsewhere := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.13")
	toBob, toAlice := natted(t, e, alice.addr().Addr(), bob.addr().Addr())
	bob.say(toAlice, "")
	until(t, func() bool { return e.Counters().Packets == 1 })
	elsewhere.say(toBob, "1")
	bob.hears(toAlice, "1")
	alice.say(toBob, "2") // better vouched for, within the window
	bob.hears(toAlice, "2")
	elsewhere.say(toBob, "3")
	strangers(t, e, 1)
}

func TestRelatchAfterReInvite(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob, moved, mallory := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.13"), newPhone(t, "127.0.0.66")
		toBob, toAlice := setCall(t, e, alice, bob)
		alice.say(toBob, "1")
		bob.hears(toAlice, "1")

		same := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr()})
		require.Equal(t, toAlice, same, "a re-INVITE keeps the ports")
		newPhone(t, "127.0.0.11").say(toBob, "an unchanged description opens nothing")
		moved.say(toBob, "nor is the new place known before it is signalled")
		strangers(t, e, 2)

		require.Equal(t, toAlice, offer(t, e, Params{Ref: testRef, SDP: audioSDP(moved.addr()), Source: moved.addr().Addr()}))
		bob.say(toAlice, "at the new place at once")
		moved.hears(toBob, "at the new place at once")
		mallory.say(toBob, "still a stranger")
		strangers(t, e, 3)
		moved.say(toBob, "2")
		bob.hears(toAlice, "2")
		alice.say(toBob, "the old place")
		strangers(t, e, 4)

		// the callee's re-INVITE runs the other way
		r, err := e.Offer(context.Background(), Params{Ref: testRef, Swap: true, SDP: audioSDP(bob.addr()), Source: bob.addr().Addr()})
		require.NoError(t, err)
		require.Equal(t, toBob, mediaAt(t, r.SDP, 0))
		require.Equal(t, toAlice, answer(t, e, Params{Ref: testRef, Swap: true, SDP: audioSDP(moved.addr()), Source: moved.addr().Addr()}))
	})
}

// TestNATKeepsServing: behind a NAT a new port in the description says nothing about the mapping.
func TestNATKeepsServing(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toBob, toAlice := natted(t, e, alice.addr().Addr(), bob.addr().Addr())
	alice.say(toBob, "")
	until(t, func() bool { return e.Counters().Packets == 1 })
	offer(t, e, Params{Ref: testRef, SDP: audioSDP(netip.MustParseAddrPort("10.1.2.3:5000")), Source: alice.addr().Addr()})
	bob.say(toAlice, "still there")
	alice.hears(toBob, "still there")
	alice.say(toBob, "learned again")
	bob.hears(toAlice, "learned again")
}

// newPair makes a phone and the socket of the next port.
func newPair(t *testing.T, addr string) (rtp, rtcp *phone) {
	for range 100 {
		rtp = newPhone(t, addr)
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(next(rtp.addr())))
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return rtp, &phone{t: t, UDPConn: c}
		}
	}
	require.Fail(t, "no two ports in a row")
	return nil, nil
}

func TestRTCPIsGuessedNextToRTP(t *testing.T) {
	e := newRelay(t, nil)
	alice, aliceRTCP := newPair(t, "127.0.0.11")
	bob := newPhone(t, "127.0.0.12")
	toBob, toAlice := natted(t, e, alice.addr().Addr(), bob.addr().Addr())
	alice.say(toBob, "")
	until(t, func() bool { return e.Counters().Packets == 1 })
	bob.send(next(toAlice), rtcpPacket(5))
	b, from := aliceRTCP.get()
	require.Equal(t, rtcpPacket(5), b)
	require.Equal(t, next(toBob), from)
}

func TestHoldKeepsTheParty(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob, mallory := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.66")
	toBob, toAlice := setCall(t, e, alice, bob)
	alice.say(toBob, "1")
	bob.hears(toAlice, "1")
	zero := netip.AddrPortFrom(netip.IPv4Unspecified(), alice.addr().Port())
	r, err := e.Offer(context.Background(), Params{Ref: testRef, SDP: audioSDP(zero), Source: alice.addr().Addr()})
	require.NoError(t, err)
	require.Contains(t, r.SDP, "c=IN IP4 0.0.0.0")
	bob.say(toAlice, "into the hold")
	until(t, func() bool { return e.Counters().Undeliverable == 1 })
	alice.say(toBob, "music")
	bob.hears(toAlice, "music")
	offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr()})
	mallory.say(toBob, "no window")
	strangers(t, e, 1)
	bob.say(toAlice, "back")
	alice.hears(toBob, "back")
}

func TestAsymmetric(t *testing.T) {
	e := newRelay(t, nil)
	alice, sends, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: loopback, Options: Options{Asymmetric: true}})
	toBob := answer(t, e, Params{Ref: testRef, SDP: audioSDP(bob.addr()), Source: loopback, Options: Options{Asymmetric: true}})
	sends.say(toBob, "from another port")
	bob.hears(toAlice, "from another port")
	bob.say(toAlice, "to the signalled one")
	alice.hears(toBob, "to the signalled one")
	newPhone(t, "127.0.0.66").say(toBob, "x")
	strangers(t, e, 1)
}

func TestRoaming(t *testing.T) {
	e := newRelay(t, func(e *Embedded) { e.Roaming = true })
	alice, moved, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.13"), newPhone(t, "127.0.0.12")
	toBob, toAlice := setCall(t, e, alice, bob)
	alice.say(toBob, "1")
	bob.hears(toAlice, "1")
	moved.say(toBob, "another stream")
	strangers(t, e, 1)
	moved.send(toBob, rtpPacket(0, alice.seq+1, 320, uint32(alice.addr().Port()), []byte("goes on")))
	bob.hears(toAlice, "goes on")
	bob.say(toAlice, "follows")
	moved.hears(toBob, "follows")
}

func TestOnlyMediaPasses(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
		toBob, toAlice := setCall(t, e, alice, bob)
		stun := make([]byte, 20)
		binary.BigEndian.PutUint32(stun[4:], 0x2112a442)
		dtls := append([]byte{22, 254, 253}, make([]byte, 10)...)
		srtp := rtpPacket(96, 1, 1, 1, []byte("opaque to us"))
		for _, b := range [][]byte{{}, []byte("hello"), make([]byte, 40), {0x80, 0, 1}, []byte("OPTIONS sip:a@b SIP/2.0\r\n\r\n"), {64, 0, 0, 8, 0, 0, 0, 0}} {
			alice.send(toBob, b)
		}
		until(t, func() bool { return e.Counters().Malformed == 6 })
		for _, b := range [][]byte{stun, dtls, srtp} {
			alice.send(toBob, b)
			got, from := bob.get()
			require.Equal(t, b, got)
			require.Equal(t, toAlice, from)
		}
	})
}

func TestFaxIsOpaque(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	t38 := func(p *phone) string {
		return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=image %d udptl t38\r\n", p.addr().Port())
	}
	toAlice := offer(t, e, Params{Ref: testRef, SDP: t38(alice), Source: alice.addr().Addr()})
	toBob := answer(t, e, Params{Ref: testRef, SDP: t38(bob), Source: bob.addr().Addr()})
	alice.send(toBob, []byte("\x00\x01\x06fax"))
	b, from := bob.get()
	require.Equal(t, "\x00\x01\x06fax", string(b))
	require.Equal(t, toAlice, from)
}

func rtcpPacket(ssrc uint32) []byte {
	b := []byte{0x80, 201, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], ssrc)
	return b
}

func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

func TestRTCPOnItsOwnPort(t *testing.T) {
	e := newRelay(t, nil)
	alice, aliceRTCP := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.11")
	bob, bobRTCP := newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.12")
	sdp := func(p, c *phone) string { return audioSDP(p.addr(), fmt.Sprintf("a=rtcp:%d\r\n", c.addr().Port())) }
	toAlice := offer(t, e, Params{Ref: testRef, SDP: sdp(alice, aliceRTCP), Source: alice.addr().Addr()})
	toBob := answer(t, e, Params{Ref: testRef, SDP: sdp(bob, bobRTCP), Source: bob.addr().Addr()})
	aliceRTCP.send(next(toBob), rtcpPacket(1))
	b, from := bobRTCP.get()
	require.Equal(t, rtcpPacket(1), b)
	require.Equal(t, next(toAlice), from)
	bobRTCP.send(next(toAlice), rtcpPacket(2))
	b, from = aliceRTCP.get()
	require.Equal(t, rtcpPacket(2), b)
	require.Equal(t, next(toBob), from)
}

func TestRTCPMux(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	sdp := func(p *phone) string { return audioSDP(p.addr(), "a=rtcp-mux\r\n") }
	toAlice := offer(t, e, Params{Ref: testRef, SDP: sdp(alice), Source: alice.addr().Addr()})
	toBob := answer(t, e, Params{Ref: testRef, SDP: sdp(bob), Source: bob.addr().Addr()})
	alice.send(toBob, rtcpPacket(1))
	b, from := bob.get()
	require.Equal(t, rtcpPacket(1), b)
	require.Equal(t, toAlice, from)
	bob.send(toAlice, rtcpPacket(2))
	b, from = alice.get()
	require.Equal(t, rtcpPacket(2), b)
	require.Equal(t, toBob, from)
}

// TestMuxOnOneSide: without descriptions (Control) the packets tell who multiplexes.
func TestMuxOnOneSide(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob, bobRTCP := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12"), newPhone(t, "127.0.0.12")
	toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr(), "a=rtcp-mux\r\n"), Source: alice.addr().Addr()})
	toBob := answer(t, e, Params{Ref: testRef, SDP: audioSDP(bob.addr(), fmt.Sprintf("a=rtcp:%d\r\n", bobRTCP.addr().Port())), Source: bob.addr().Addr()})
	alice.send(toBob, rtcpPacket(1)) // multiplexed although it was not agreed
	b, from := bobRTCP.get()
	require.Equal(t, rtcpPacket(1), b)
	require.Equal(t, next(toAlice), from)
	bobRTCP.send(next(toAlice), rtcpPacket(2))
	b, from = alice.get()
	require.Equal(t, rtcpPacket(2), b)
	require.Equal(t, toBob, from)
}

func TestBetweenIPv4AndIPv6(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		e.Interfaces = []Interface{{Name: "four", Addr: loopback}, {Name: "six", Addr: netip.IPv6Loopback()}}
		alice, bob := newPhone(t, "127.0.0.1"), newPhone(t, "::1")
		yes := true
		toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr(), Options: Options{IPv6: &yes}})
		require.Equal(t, netip.IPv6Loopback(), toAlice.Addr())
		toBob := answer(t, e, Params{Ref: testRef, SDP: audioSDP(bob.addr()), Source: bob.addr().Addr()})
		require.Equal(t, loopback, toBob.Addr())
		alice.say(toBob, "four to six")
		bob.hears(toAlice, "four to six")
		bob.say(toAlice, "six to four")
		alice.hears(toBob, "six to four")
	})
}

func TestBridgeByName(t *testing.T) {
	e := newRelay(t, func(e *Embedded) {
		e.Interfaces = []Interface{{Name: "lan", Addr: netip.MustParseAddr("127.0.0.2")},
			{Name: "wan", Addr: netip.MustParseAddr("127.0.0.3"), Advertise: netip.MustParseAddr("203.0.113.9")}}
	})
	alice := newPhone(t, "127.0.0.11")
	o := Options{From: "lan", To: "wan"}
	toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: loopback, Options: o})
	require.Equal(t, "203.0.113.9", toAlice.Addr().String())
	toBob := answer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: loopback, Options: Options{From: "wan", To: "lan"}})
	require.Equal(t, "127.0.0.2", toBob.Addr().String())
	_, err := e.Offer(context.Background(), Params{Ref: Ref{CallID: "x"}, SDP: audioSDP(alice.addr()), Source: loopback, Options: Options{To: "nowhere"}})
	require.ErrorIs(t, err, ErrUnsupported)
	yes := true
	_, err = e.Offer(context.Background(), Params{Ref: Ref{CallID: "x"}, SDP: audioSDP(alice.addr()), Source: loopback, Options: Options{IPv6: &yes}})
	require.ErrorIs(t, err, ErrUnsupported)
	require.Equal(t, 1, e.Counters().Sessions)
}

// TestDestinations: no description and no packet makes the relay send where it must not.
func TestDestinations(t *testing.T) {
	e := &Embedded{Interfaces: []Interface{{Addr: loopback, Advertise: netip.MustParseAddr("198.51.100.1"), Low: 20000, High: 29999}},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	_, err := e.setup()
	require.NoError(t, err)
	public, private, local := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("192.168.1.1"), loopback
	for _, c := range []struct {
		dst    string
		source netip.Addr
		ok     bool
	}{
		{"203.0.113.7:4000", public, true},
		{"203.0.113.7:0", public, false},
		{"224.0.0.1:4000", public, false},
		{"[ff02::1]:4000", public, false},
		{"255.255.255.255:4000", public, false},
		{"0.0.0.0:4000", public, false},
		{"[::]:4000", public, false},
		{"0.1.2.3:4000", public, false},
		{"127.0.0.1:4000", public, false},
		{"[::1]:4000", public, false},
		{"[fe80::1]:4000", public, false},
		{"[fd00::1]:4000", public, false},
		{"169.254.169.254:80", public, false},
		{"10.0.0.1:4000", public, false},
		{"100.64.0.1:4000", public, false},
		{"10.0.0.1:4000", private, true},
		{"10.9.0.1:4000", public, true},
		{"127.0.0.1:4000", private, false},
		{"127.0.0.1:4000", local, true},
		{"127.0.0.1:20001", local, false},
		{"198.51.100.1:29999", public, false},
		{"198.51.100.1:30000", public, true},
	} {
		require.Equal(t, c.ok, e.permitted(netip.MustParseAddrPort(c.dst), c.source), "%s for %s", c.dst, c.source)
	}
	e.Allow = func(dst, _ netip.Addr) bool { return dst != public }
	require.False(t, e.permitted(netip.AddrPortFrom(public, 4000), public))
}

func TestForbiddenDestinationGetsNothing(t *testing.T) {
	e := newRelay(t, nil)
	alice, victim := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.1")
	toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(victim.addr()), Source: netip.MustParseAddr("203.0.113.5"), Options: Options{TrustSDP: true}})
	answer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr()})
	alice.say(toAlice, "reflected?")
	until(t, func() bool { return e.Counters().Undeliverable == 1 })
	require.NotZero(t, e.Counters().Denied)
	require.Zero(t, e.Counters().Relayed)
}

func TestLearnWindow(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.1:2")
	var l latch
	require.False(t, l.learn(a, rankNone, 5))
	require.True(t, l.learn(a, rankAny, 10))
	require.False(t, l.learn(b, rankAny, 11), "an equal is no better")
	require.True(t, l.learn(b, rankHost, 10+learnWindow-1))
	require.False(t, l.learn(a, rankSignal, 10+learnWindow), "the window is over")
	require.True(t, l.locked)
	l.reopen()
	require.True(t, l.learn(a, rankSignal, int64(time.Hour)))
	require.True(t, l.locked)
}
