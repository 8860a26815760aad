package rtprelay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// ownLoopback is an address of 127.0.0.0/8 that no other test process uses, for tests that need the very ports they name.
func ownLoopback() netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, 64 | byte(pid>>16)&63, byte(pid >> 8), byte(pid)})
}

// newRelay relays on 127.0.0.1.
func newRelay(t testing.TB, change func(*Embedded)) *Embedded {
	e := &Embedded{Interfaces: []Interface{{Name: "lo", Addr: loopback, Low: 21000, High: 31999}}}
	if change != nil {
		change(e)
	}
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// a phone is one UDP socket.
type phone struct {
	t testing.TB
	*net.UDPConn
	seq uint16
}

func newPhone(t testing.TB, addr string) *phone {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t: t, UDPConn: c}
}

func (p *phone) addr() netip.AddrPort {
	a := p.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func rtpPacket(pt byte, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

func (p *phone) send(to netip.AddrPort, b []byte) {
	_, err := p.WriteToUDPAddrPort(b, to)
	require.NoError(p.t, err)
}

// say sends the next packet of this phone's stream, with text as its payload.
func (p *phone) say(to netip.AddrPort, text string) {
	p.seq++
	p.send(to, rtpPacket(0, p.seq, uint32(p.seq)*160, uint32(p.addr().Port()), []byte(text)))
}

// get waits for a packet.
func (p *phone) get() ([]byte, netip.AddrPort) {
	p.t.Helper()
	b := make([]byte, 65536)
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(time.Minute)))
	n, from, err := p.ReadFromUDPAddrPort(b)
	require.NoError(p.t, err)
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// hears checks the payload of the next packet and where it came from.
func (p *phone) hears(from netip.AddrPort, text string) {
	p.t.Helper()
	b, src := p.get()
	require.Equal(p.t, text, string(b[12:]))
	require.Equal(p.t, from, src)
}

// until waits for what happens on the relay's own goroutine.
func until(t testing.TB, what func() bool) {
	t.Helper()
	for range 60_000 {
		if what() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.Fail(t, "it did not happen")
}

func audioSDP(at netip.AddrPort, more ...string) string {
	family := "IP4"
	if at.Addr().Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("v=0\r\no=- 1 1 IN %[1]s %[2]s\r\ns=-\r\nc=IN %[1]s %[2]s\r\nt=0 0\r\nm=audio %[3]d RTP/AVP 0 8 101\r\n",
		family, at.Addr(), at.Port()) + strings.Join(more, "")
}

// mediaAt reads where a description sends its stream.
func mediaAt(t testing.TB, sdp string, i int) netip.AddrPort {
	t.Helper()
	d, err := ParseSDP(sdp)
	require.NoError(t, err)
	require.Greater(t, len(d.Media), i)
	return netip.AddrPortFrom(d.Media[i].Addr, d.Media[i].Port)
}

func offer(t testing.TB, e *Embedded, p Params) netip.AddrPort {
	t.Helper()
	r, err := e.Offer(context.Background(), p)
	require.NoError(t, err)
	return mediaAt(t, r.SDP, 0)
}

func answer(t testing.TB, e *Embedded, p Params) netip.AddrPort {
	t.Helper()
	r, err := e.Answer(context.Background(), p)
	require.NoError(t, err)
	return mediaAt(t, r.SDP, 0)
}

var testRef = Ref{CallID: "call", FromTag: "f", ToTag: "t"}

// setCall sets up a call and answers where each phone sends.
func setCall(t testing.TB, e *Embedded, alice, bob *phone) (toBob, toAlice netip.AddrPort) {
	t.Helper()
	bobSends := offer(t, e, Params{Ref: Ref{CallID: "call", FromTag: "f"}, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr()})
	aliceSends := answer(t, e, Params{Ref: testRef, SDP: audioSDP(bob.addr()), Source: bob.addr().Addr()})
	return aliceSends, bobSends
}

func bothLoops(t *testing.T, f func(t *testing.T, e *Embedded)) {
	t.Run("poll", func(t *testing.T) { f(t, newRelay(t, nil)) })
	t.Run("portable", func(t *testing.T) { f(t, newRelay(t, func(e *Embedded) { e.portable = true })) })
}

func TestEmbeddedRelays(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob := newPhone(t, "127.0.0.1"), newPhone(t, "127.0.0.1")
		toBob, toAlice := setCall(t, e, alice, bob)
		require.Zero(t, toBob.Port()%2)
		require.NotEqual(t, toBob, toAlice)
		for i := range 20 {
			alice.say(toBob, fmt.Sprint("a", i))
			bob.hears(toAlice, fmt.Sprint("a", i))
			bob.say(toAlice, fmt.Sprint("b", i))
			alice.hears(toBob, fmt.Sprint("b", i))
		}
		st, err := e.Query(context.Background(), testRef)
		require.NoError(t, err)
		require.Equal(t, [2]uint64{20, 20}, st.Packets)
		require.Zero(t, st.Lost)
		require.Zero(t, st.Dropped)

		require.NoError(t, e.Delete(context.Background(), testRef))
		require.NoError(t, e.Delete(context.Background(), testRef))
		_, err = e.Query(context.Background(), testRef)
		require.ErrorIs(t, err, ErrNoSession)
		c := e.Counters()
		require.Equal(t, Counters{Created: 1, Complete: 1, Packets: 40, Bytes: c.Bytes, Relayed: 40, Duration: c.Duration}, c)
		for _, n := range e.set.nets {
			require.Zero(t, n.taken)
		}
	})
}
