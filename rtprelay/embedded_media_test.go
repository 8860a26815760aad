package rtprelay

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
)

// recorded reads a pcap file back: who sent what to whom.
func recorded(t *testing.T, path string) []string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, uint32(0xa1b2c3d4), binary.LittleEndian.Uint32(b))
	require.Equal(t, uint32(linkRaw), binary.LittleEndian.Uint32(b[20:]))
	var list []string
	for b = b[24:]; len(b) > 0; {
		n := binary.LittleEndian.Uint32(b[8:])
		require.Equal(t, n, binary.LittleEndian.Uint32(b[12:]))
		ip := b[16 : 16+n]
		b = b[16+n:]
		var src, dst netip.Addr
		udp := ip[20:]
		if ip[0]>>4 == 4 {
			require.Equal(t, uint16(0xffff), onesSum(0, ip[:20]), "header checksum")
			src, _ = netip.AddrFromSlice(ip[12:16])
			dst, _ = netip.AddrFromSlice(ip[16:20])
		} else {
			udp = ip[40:]
			src, _ = netip.AddrFromSlice(ip[8:24])
			dst, _ = netip.AddrFromSlice(ip[24:40])
		}
		require.Equal(t, len(udp), int(binary.BigEndian.Uint16(udp[4:])))
		list = append(list, fmt.Sprintf("%s>%s %s", netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp)),
			netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:])), udp[8+12:]))
	}
	return list
}

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	e := newRelay(t, func(e *Embedded) { e.RecordDir = dir })
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toBob, toAlice := setCall(t, e, alice, bob)
	ctx := context.Background()
	require.ErrorIs(t, e.Record(ctx, Ref{CallID: "other"}), ErrNoSession)
	require.NoError(t, e.Record(ctx, testRef))
	require.NoError(t, e.Record(ctx, testRef), "once more is harmless")
	alice.say(toBob, "from alice")
	bob.hears(toAlice, "from alice")
	bob.say(toAlice, "from bob")
	alice.hears(toBob, "from bob")
	rec := e.find(callKey{"call", 0}, "f", 1).rec
	require.NoError(t, e.StopRecord(ctx, testRef))
	<-rec.ended
	alice.say(toBob, "not this")
	bob.hears(toAlice, "not this")
	path := filepath.Join(dir, "r-call=f.pcap")
	require.Equal(t, []string{
		fmt.Sprintf("%s>%s from alice", alice.addr(), toBob),
		fmt.Sprintf("%s>%s from bob", bob.addr(), toAlice),
	}, recorded(t, path))

	require.NoError(t, e.Record(ctx, testRef), "a second recording has a file of its own")
	require.NoError(t, e.Delete(ctx, testRef))
	_, err := os.Stat(filepath.Join(dir, "r-call=f-2.pcap"))
	require.NoError(t, err)

	programs.Need(t, "tshark")
	out, err := exec.Command("tshark", "-r", path, "-d", fmt.Sprintf("udp.port==%d,rtp", toBob.Port()), "-d", fmt.Sprintf("udp.port==%d,rtp", toAlice.Port()),
		"-T", "fields", "-e", "ip.src", "-e", "rtp.p_type", "-e", "rtp.seq").Output()
	require.NoError(t, err)
	require.Equal(t, "127.0.0.11\t0\t1\n127.0.0.12\t0\t1\n", string(out))
}

func TestRecordIPv6HasAChecksum(t *testing.T) {
	a, b := netip.MustParseAddrPort("[2001:db8::1]:4000"), netip.MustParseAddrPort("[2001:db8::2]:5000")
	p := appendPcap(nil, rtpPacket(0, 1, 2, 3, []byte("odd")), a, b, time.Unix(1, 2000))
	udp := p[16+40:]
	require.Equal(t, uint16(0xffff), pseudoSum(udp, a.Addr(), b.Addr()))
}

func pseudoSum(udp []byte, from, to netip.Addr) uint16 {
	sum := ^udpSum6(udp, from, to) // over a datagram with a right checksum all ones come out
	if sum == 0 {
		return 0xffff
	}
	return sum
}

func TestRecordNamesStayInTheDirectory(t *testing.T) {
	for _, s := range []string{"../../etc/passwd", "a/b", "a\\b", "x\x00y", strings.Repeat("long", 100)} {
		n := fileName(s)
		require.NotContains(t, n, "/")
		require.NotContains(t, n, "\\")
		require.LessOrEqual(t, len(n), 80)
	}
}

func TestPlay(t *testing.T) {
	dir := t.TempDir()
	ann := make([]byte, 5*160)
	for i := range ann {
		ann[i] = byte(i / 160)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ann.0"), ann, 0o600))
	e := newRelay(t, nil)
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toBob, toAlice := setCall(t, e, alice, bob)
	ctx := context.Background()
	require.ErrorIs(t, e.Play(ctx, testRef, true, filepath.Join(dir, "none"), 1), ErrUnsupported)
	require.NoError(t, e.Play(ctx, testRef, true, filepath.Join(dir, "ann"), 2))
	var ssrc, ts uint32
	var seq uint16
	for i := range 10 {
		b, from := bob.get()
		require.Equal(t, toAlice, from)
		require.Len(t, b, 172)
		require.Equal(t, byte(i%5), b[12])
		if i == 0 {
			require.Equal(t, []byte{0x80, 0x80}, b[:2], "the marker begins it")
			seq, ts, ssrc = binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
			continue
		}
		require.Equal(t, []byte{0x80, 0}, b[:2])
		require.Equal(t, seq+uint16(i), binary.BigEndian.Uint16(b[2:]))
		require.Equal(t, ts+160*uint32(i), binary.BigEndian.Uint32(b[4:]))
		require.Equal(t, ssrc, binary.BigEndian.Uint32(b[8:]))
	}
	until(t, func() bool { return e.Counters().Played == 10 && e.find(callKey{"call", 0}, "f", 1).silent() })
	alice.say(toBob, "it has ended, so the other party is heard again")
	bob.hears(toAlice, "it has ended, so the other party is heard again")
	require.NoError(t, e.Play(ctx, testRef, false, filepath.Join(dir, "ann"), -1))
	for range 7 {
		b, from := alice.get()
		require.Equal(t, toBob, from)
		require.Len(t, b, 172)
	}
	require.NoError(t, e.Stop(ctx, testRef, false))
	require.NoError(t, e.Stop(ctx, testRef, false))
	require.ErrorIs(t, e.Stop(ctx, Ref{CallID: "no"}, false), ErrNoSession)
}

// TestPlayPace checks the pace against the clock that is given, not the one on the wall.
func TestPlayPace(t *testing.T) {
	f, _ := frameOf(0)
	p := newPlayer(make([]byte, 8000), 0, f, 20*time.Millisecond, -1, 1000)
	sent := 0
	for now := int64(1000); now < 1000+1e9; now += 7e6 {
		for range p.due(now) {
			_, ok := p.next(nil)
			require.True(t, ok)
			sent++
		}
	}
	require.Equal(t, 50, sent)
	require.Equal(t, 1, p.due(1000+3600e9), "after a standstill it goes on, it does not catch up")
	g729, _ := frameOf(18)
	p = newPlayer(make([]byte, 100), 18, g729, 25*time.Millisecond, 1, 0)
	require.Equal(t, 20*time.Millisecond, p.every, "whole frames")
	require.Equal(t, 20, p.size)
}

func wav(format, channels uint16, rate uint32, bits uint16, data []byte) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WAVEJUNK\x03\x00\x00\x00abc\x00fmt "), 16, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, format)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = append(b, make([]byte, 6)...)
	b = binary.LittleEndian.AppendUint16(b, bits)
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(len(data)))
	return append(b, data...)
}

func TestWAV(t *testing.T) {
	// values of ITU-T G.711, tables 1 and 2
	for _, c := range []struct {
		v     int16
		mu, a byte
	}{{0, 0xff, 0xd5}, {-1, 0x7f, 0x55}, {32767, 0x80, 0xaa}, {-32768, 0x00, 0x2a}, {1000, 0xce, 0xfa}, {-1000, 0x4e, 0x7a}} {
		require.Equal(t, c.mu, muLaw(c.v), "mu-law %d", c.v)
		require.Equal(t, c.a, aLaw(c.v), "A-law %d", c.v)
	}
	for i := range 256 {
		if c := byte(i); c != 0x7f { // two zeros
			require.Equal(t, c, muLaw(fromMuLaw(c)))
		}
		require.Equal(t, byte(i), aLaw(fromALaw(byte(i))))
	}
	out, err := wavToG711(wav(1, 1, 8000, 16, []byte{0, 0, 0xff, 0x7f}), false)
	require.NoError(t, err)
	require.Equal(t, []byte{0xff, 0x80}, out)
	out, err = wavToG711(wav(6, 1, 8000, 8, []byte{0xd5}), false)
	require.NoError(t, err)
	require.Equal(t, []byte{muLaw(8)}, out)
	for _, bad := range [][]byte{nil, []byte("RIFF"), wav(1, 2, 8000, 16, nil), wav(1, 1, 44100, 16, nil), wav(1, 1, 8000, 8, nil), wav(85, 1, 8000, 16, nil), wav(1, 1, 8000, 16, nil)[:50]} {
		_, err := wavToG711(bad, true)
		require.Error(t, err)
	}
}

func TestRepacketize(t *testing.T) {
	e := newRelay(t, nil)
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	toAlice := offer(t, e, Params{Ref: testRef, SDP: audioSDP(alice.addr()), Source: alice.addr().Addr(), Options: Options{Repacketize: 60 * time.Millisecond}})
	toBob := answer(t, e, Params{Ref: testRef, SDP: audioSDP(bob.addr()), Source: bob.addr().Addr()})
	send := func(pt byte, seq uint16, ts uint32, n int) {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(seq)
		}
		alice.send(toBob, rtpPacket(pt, seq, ts, 7, p))
	}
	expect := func(pt byte, seq uint16, ts uint32, payload string) {
		t.Helper()
		b, from := bob.get()
		require.Equal(t, toAlice, from)
		require.Equal(t, pt, b[1])
		require.Equal(t, seq, binary.BigEndian.Uint16(b[2:]))
		require.Equal(t, ts, binary.BigEndian.Uint32(b[4:]))
		short := ""
		for i, c := range b[12:] {
			if i%80 == 0 {
				short += fmt.Sprint(c, " ")
			}
		}
		require.Equal(t, payload, short)
	}
	for i := range 6 {
		send(0, uint16(100+i), uint32(160*i), 160)
	}
	expect(0, 100, 0, "100 100 101 101 102 102 ")
	expect(0, 101, 480, "103 103 104 104 105 105 ")
	send(0, 106, 960, 160)
	send(101, 107, 960, 4) // a key press goes out behind what was held
	expect(0, 102, 960, "106 106 ")
	expect(101, 103, 960, "107 ")
	send(0, 108, 1440, 160)
	send(0, 108, 1440, 160) // a copy
	send(0, 110, 1760, 160) // one is lost: what is held is not joined over the gap
	expect(0, 104, 1440, "108 108 ")
	send(0, 111, 1920, 800) // longer than asked for
	expect(0, 105, 1760, "110 110 111 111 111 111 ")
	expect(0, 106, 2240, "111 111 111 111 111 111 ")
	send(0x80, 112, 8000, 160) // a talkspurt begins
	send(0, 113, 8160, 320)
	expect(0x80, 107, 8000, "112 112 113 113 113 113 ")
	bob.say(toAlice, "untouched")
	alice.hears(toBob, "untouched")
}

func TestLossAndJitter(t *testing.T) {
	var r rtpStats
	at := func(seq uint16, ts uint32, ms int64) { r.packet(rtpPacket(0, seq, ts, 9, nil), ms*1e6, nil) }
	at(65534, 0, 0)
	at(65535, 160, 20)
	at(1, 480, 60) // 0 is late
	at(0, 320, 61)
	at(4, 960, 120) // 2 and 3 are lost
	require.Equal(t, uint64(2), r.totalLost())
	require.Zero(t, r.jitterTime())
	at(5, 1120, 156) // 16 ms late
	require.Equal(t, 1*time.Millisecond, r.jitterTime())
	r.packet(rtpPacket(0, 30000, 0, 10, nil), 0, nil)
	require.Equal(t, uint64(2), r.totalLost(), "a new source does not lose what it never sent")
	require.Equal(t, uint32(1), r.changes)
	r.packet(rtpPacket(96, 1, 0, 11, nil), 0, []rtpClock{{96, 48000}})
	require.Equal(t, uint32(48000), r.clock)
}

func TestRtpClocks(t *testing.T) {
	sdp := "v=0\r\na=rtpmap:97 x/1\r\nm=audio 1 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap: 98 odd/16000\r\nm=video 2 RTP/AVP 99\na=rtpmap:99 H264/90000\na=rtpmap:9x y\n"
	require.Equal(t, []rtpClock{{96, 48000}, {98, 16000}}, rtpClocks(sdp, 0))
	require.Equal(t, []rtpClock{{99, 90000}}, rtpClocks(sdp, 1))
}

func TestTimeoutRule(t *testing.T) {
	set := &relaySetup{timeout: 60 * time.Second, halfOpen: 240 * time.Second, hold: 30 * time.Minute}
	for _, c := range []struct {
		state lifeState
		idle  time.Duration
		ttl   time.Duration
		dead  bool
	}{
		{stateActive, 59 * time.Second, 0, false},
		{stateActive, 60 * time.Second, 0, true},
		{stateActive, 89 * time.Second, 90 * time.Second, false},
		{stateActive, 90 * time.Second, 90 * time.Second, true},
		{stateHalfOpen, 239 * time.Second, 0, false},
		{stateHalfOpen, 240 * time.Second, 0, true},
		{stateHeld, 29 * time.Minute, 0, false},
		{stateHeld, 30 * time.Minute, 0, true},
		{statePlaying, 29 * time.Minute, 90 * time.Second, false},
	} {
		require.Equal(t, c.dead, lapsed(c.state, 1e9, 1e9+int64(c.idle), set, c.ttl), "%+v", c)
	}
}

// silent: nothing is played to either party.
func (s *relaySession) silent() bool {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	return s.sides[0].play == nil && s.sides[1].play == nil
}

func TestStreamsOfOneCallLiveTogether(t *testing.T) {
	set := &relaySetup{timeout: time.Minute, halfOpen: time.Minute, hold: time.Minute}
	l := &relayLoop{base: time.Now().Add(-time.Hour)}
	add := func(c *relayCall, tag string, media int, last int64) {
		c.sessions = append(c.sessions, &relaySession{call: c, fromTag: tag, media: media, loop: l, last: last})
	}
	var c relayCall
	add(&c, "alive", 1, 0)
	add(&c, "alive", 2, int64(time.Hour))
	add(&c, "alive", 3, 0)
	add(&c, "dead", 1, 0)
	add(&c, "dead", 2, 0)
	groups := silent(&c, set)
	require.Len(t, groups, 1)
	require.Len(t, groups[0], 2)
	require.Equal(t, "dead", groups[0][0].fromTag)
	c.key.leg = controlLeg
	require.Len(t, silent(&c, set), 4, "those of Control each for itself")
}

// TestMaxRate: what a party sends beyond the limit of a second is dropped and counted; the next second begins anew.
func TestMaxRate(t *testing.T) {
	e := newRelay(t, func(e *Embedded) { e.MaxRate = 10 })
	p, alice, _ := relayed(t, e)
	l := e.set.loops[0]
	flood := func(now int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range 25 {
			p.receive(rtpPacket(0, uint16(i), 0, 7, nil), alice.addr(), now+int64(i))
		}
	}
	flood(1e9)
	require.Equal(t, []uint64{25, 10, 15}, []uint64{e.Counters().Packets, e.Counters().Relayed, e.Counters().Flooded})
	flood(2e9)
	require.Equal(t, []uint64{50, 20, 30}, []uint64{e.Counters().Packets, e.Counters().Relayed, e.Counters().Flooded})
	st, err := e.Query(t.Context(), testRef)
	require.NoError(t, err)
	require.Equal(t, uint64(20), st.Packets[0])
	require.Equal(t, uint64(30), st.Dropped)
	require.Equal(t, []uint32{5000, 7, math.MaxUint32}, []uint32{packetRate(0), packetRate(7), packetRate(-1)})
}

// TestLossOverControl: RTPProxy tells the losses of each party, and our client asks for them.
func TestLossOverControl(t *testing.T) {
	e := newRelay(t, nil)
	c := &Control{Engine: e, Listen: []string{"udp:127.0.0.1:0"}}
	startControl(t, c)
	client := &RTPProxy{Address: "udp:" + c.Addrs()[0].String()}
	defer func() { require.NoError(t, client.Close()) }()
	alice, bob := newPhone(t, "127.0.0.1"), newPhone(t, "127.0.0.1")
	o, err := client.Offer(t.Context(), Params{Ref: Ref{CallID: "call", FromTag: "f"}, SDP: audioSDP(alice.addr()), Source: loopback})
	require.NoError(t, err)
	a, err := client.Answer(t.Context(), Params{Ref: testRef, SDP: audioSDP(bob.addr()), Source: loopback})
	require.NoError(t, err)
	toAlice, toBob := mediaAt(t, o.SDP, 0), mediaAt(t, a.SDP, 0)
	for _, seq := range []uint16{1, 2, 5} {
		alice.send(toBob, rtpPacket(0, seq, 0, 7, nil))
		bob.get()
	}
	for _, seq := range []uint16{1, 3} {
		bob.send(toAlice, rtpPacket(0, seq, 0, 7, nil))
		alice.get()
	}
	st, err := client.Query(t.Context(), testRef)
	require.NoError(t, err)
	require.Equal(t, [2]uint64{3, 2}, st.Packets)
	require.Equal(t, [2]uint64{2, 1}, st.Lost)
	require.Equal(t, "2 3 1\n", string(c.command("Q call t;1 f;1 npkts_ina npkts_ino rtpa_nlost", loopback)), "a is who has the first tag")
}

// TestOneSided: silence of one party ends a call unless a description makes it legitimate.
func TestOneSided(t *testing.T) {
	const minute = int64(time.Minute)
	hold := "c=IN IP4 0.0.0.0\r\n"
	for _, c := range []struct {
		name       string
		alice, bob string // the attributes of their descriptions
		dead       bool
	}{
		{"talking", "", "", true},
		{"bob only listens", "", "a=recvonly\r\n", false},
		{"alice does not listen", "a=sendonly\r\n", "a=recvonly\r\n", false},
		{"alice does not listen, bob does not know", "a=sendonly\r\n", "", false},
		{"both inactive", "a=inactive\r\n", "a=inactive\r\n", false},
		{"hold of RFC 2543", hold, "", false},
		{"bob alone sends", "a=recvonly\r\n", "a=sendonly\r\n", true},
		{"a second stream goes on", "m=video 4002 RTP/AVP 99\r\n", "m=video 4004 RTP/AVP 99\r\n", false},
		{"a second stream was refused", "m=video 4002 RTP/AVP 99\r\n", "m=video 0 RTP/AVP 99\r\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newRelay(t, func(e *Embedded) { e.OneSided = time.Minute })
			_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "call", FromTag: "f"}, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"), c.alice), Source: loopback})
			require.NoError(t, err)
			_, err = e.Answer(t.Context(), Params{Ref: testRef, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4008"), c.bob), Source: loopback})
			require.NoError(t, err)
			e.mu.Lock()
			defer e.mu.Unlock()
			call := e.calls[callKey{"call", 0}]
			require.Empty(t, silent(call, e.set), "just now")
			base := e.set.base.Add(-10 * time.Minute)
			s := call.sessions[0]
			s.loop.mu.Lock()
			s.loop.base = base
			now := s.loop.now()
			s.last, s.sides[0].heard = now, now // alice is heard, bob was when the call began
			s.sides[1].heard, s.signalled = now-2*minute, now-3*minute
			if len(call.sessions) > 1 {
				call.sessions[1].signalled, call.sessions[1].sides[1].heard = 0, now
			}
			s.loop.mu.Unlock()
			require.Equal(t, c.dead, len(silent(call, e.set)) == 1)
			s.loop.mu.Lock()
			s.signalled = now
			s.loop.mu.Unlock()
			require.Empty(t, silent(call, e.set), "a description gives time anew")
			e.set.oneSided = 0
			s.signalled = 0
			require.Empty(t, silent(call, e.set), "by default silence of one is none")
		})
	}
}

func TestTimeout(t *testing.T) {
	told := make(chan Ref, 10)
	e := newRelay(t, func(e *Embedded) {
		e.Timeout = 50 * time.Millisecond
		e.OnTimeout = func(r Ref) { told <- r }
	})
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	two := audioSDP(alice.addr(), "m=video 4002 RTP/AVP 99\r\n")
	_, err := e.Offer(context.Background(), Params{Ref: testRef, SDP: two, Source: loopback})
	require.NoError(t, err)
	_, err = e.Answer(context.Background(), Params{Ref: testRef, SDP: audioSDP(bob.addr(), "m=video 4004 RTP/AVP 99\r\n"), Source: loopback})
	require.NoError(t, err)
	require.Equal(t, testRef, <-told)
	require.Empty(t, told, "once a call, not once a stream")
	c := e.Counters()
	require.Equal(t, []uint64{0, 2, 2}, []uint64{uint64(c.Sessions), c.TimedOut, c.Complete})
	e.mu.Lock()
	require.Nil(t, e.ticker, "no timer without sessions")
	require.True(t, e.set.loops[0].poll.idle(), "no goroutine without sessions")
	e.mu.Unlock()
	setCall(t, e, alice, bob) // it starts again
	require.Equal(t, testRef, <-told)
}

func TestRefusedStreamsAndLimits(t *testing.T) {
	e := newRelay(t, func(e *Embedded) {
		e.MaxSessions = 3
		e.Interfaces[0] = Interface{Name: "lo", Addr: ownLoopback(), Low: 21000, High: 21007}
	})
	ctx := context.Background()
	video := "m=video %d RTP/AVP 99\r\n"
	o, err := e.Offer(ctx, Params{Ref: testRef, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"), fmt.Sprintf(video, 4002), fmt.Sprintf(video, 0)), Source: loopback})
	require.NoError(t, err)
	require.Equal(t, 2, o.Streams)
	require.Contains(t, o.SDP, "m=video 0 ")
	require.Equal(t, 2, e.Counters().Sessions)

	_, err = e.Offer(ctx, Params{Ref: Ref{CallID: "two"}, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"), fmt.Sprintf(video, 4002)), Source: loopback})
	require.ErrorIs(t, err, ErrUnavailable, "all of it or nothing")
	require.Equal(t, 2, e.Counters().Sessions)

	_, err = e.Answer(ctx, Params{Ref: testRef, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"), fmt.Sprintf(video, 0), fmt.Sprintf(video, 0)), Source: loopback})
	require.NoError(t, err)
	require.Equal(t, 1, e.Counters().Sessions, "a refused stream gives its ports back")

	offer(t, e, Params{Ref: Ref{CallID: "three"}, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000")), Source: loopback})
	offer(t, e, Params{Ref: Ref{CallID: "four"}, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000")), Source: loopback})
	_, err = e.Answer(ctx, Params{Ref: Ref{CallID: "four"}, SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000")), Source: loopback})
	require.ErrorIs(t, err, ErrUnavailable, "four pairs are taken")
	require.NotZero(t, e.Counters().Refused)
}

func TestPortsAreUnforeseeable(t *testing.T) {
	n := newRelayNet(Interface{Addr: loopback, Low: 20001, High: 20100})
	require.Equal(t, 49, n.pairs)
	seen := map[uint16]bool{}
	inOrder := 0
	last := uint16(0)
	for range n.pairs {
		p, ok := n.take()
		require.True(t, ok)
		require.Zero(t, p%2)
		require.False(t, seen[p])
		seen[p] = true
		if p == last+2 {
			inOrder++
		}
		last = p
	}
	require.Less(t, inOrder, n.pairs/2)
	_, ok := n.take()
	require.False(t, ok)
	n.give(last)
	p, ok := n.take()
	require.True(t, ok)
	require.Equal(t, last, p)
}

func TestCheck(t *testing.T) {
	e := &Embedded{TOS: 300, Interfaces: []Interface{{Name: "a"}, {Name: "a", Addr: loopback, Advertise: netip.IPv6Loopback(), Low: 80, High: 90}}}
	err := e.Check()
	for _, part := range []string{"Addr must", "family", "no pair", "two interfaces", "TOS"} {
		require.ErrorContains(t, err, part)
	}
	_, err = e.Offer(context.Background(), Params{SDP: audioSDP(netip.MustParseAddrPort("127.0.0.1:4000")), Source: loopback})
	require.Error(t, err)
	require.NoError(t, (&Embedded{}).Check())
}

// TestManySessions holds 5000 streams, or as many as descriptors allow, with packets through the first and the last.
// TestManySessions: 5,000 calls, of parties that use one port for RTP and RTCP where the descriptors do not suffice for two: 4 a call, 2 with rtcp-mux, and 512 for the rest.
func TestManySessions(t *testing.T) {
	n, more := 5000, ""
	if testing.Short() {
		n = 500
	}
	if n*filesOfSession > fileLimit() {
		n, more = min(n, fileLimit()/2-1), "a=rtcp-mux\r\n"
	}
	e := newRelay(t, func(e *Embedded) {
		e.Interfaces = []Interface{{Addr: loopback, Low: 21000, High: 31999}, {Addr: netip.MustParseAddr("127.0.0.2"), Name: "b", Low: 21000, High: 31999}}
	})
	ctx := context.Background()
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	var toBob, toAlice [2]netip.AddrPort
	for i := range n {
		p := Params{Ref: Ref{CallID: fmt.Sprint("call", i), FromTag: "f", ToTag: "t"}, SDP: audioSDP(alice.addr(), more), Source: alice.addr().Addr(), Options: Options{To: "b"}}
		o, err := e.Offer(ctx, p)
		require.NoError(t, err)
		p.SDP, p.Source = audioSDP(bob.addr(), more), bob.addr().Addr()
		a, err := e.Answer(ctx, p)
		require.NoError(t, err)
		toBob[b2i(i > 0)], toAlice[b2i(i > 0)] = mediaAt(t, a.SDP, 0), mediaAt(t, o.SDP, 0)
	}
	require.Equal(t, n, e.Counters().Sessions)
	t.Logf("%d sessions, %d descriptors", n, e.files)
	for i := range 2 {
		alice.say(toBob[i], "through")
		bob.hears(toAlice[i], "through")
	}
	e.set.max = n
	_, err := e.Offer(ctx, Params{Ref: Ref{CallID: "more"}, SDP: audioSDP(alice.addr()), Source: loopback})
	require.ErrorIs(t, err, ErrUnavailable)
}

// TestMuxSavesPorts: the ports for RTCP go once both parties said rtcp-mux, come back when one no longer does, and descriptors are reckoned accordingly.
func TestMuxSavesPorts(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
		bobRTP, bobRTCP := newPair(t, "127.0.0.12")
		params := func(p *phone, more string) Params {
			return Params{Ref: testRef, SDP: audioSDP(p.addr(), more), Source: p.addr().Addr()}
		}
		const mux = "a=rtcp-mux\r\n"
		toAlice := offer(t, e, params(alice, mux))
		require.Equal(t, 4, e.files, "not answered yet")
		toBob := answer(t, e, params(bob, mux))
		require.Equal(t, 2, e.files)
		for i := range 2 {
			require.Nil(t, e.find(callKey{"call", 0}, "f", 1).sides[i].rtcp)
		}
		exchange := func(from *phone, to netip.AddrPort, hears *phone) {
			from.send(to, rtcpPacket(1))
			b, _ := hears.get()
			require.Equal(t, rtcpPacket(1), b)
			from.say(to, "x")
			hears.get()
		}
		exchange(alice, toBob, bob)
		exchange(bob, toAlice, alice)
		e.set.files = 5
		_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "more"}, SDP: audioSDP(alice.addr()), Source: loopback})
		require.ErrorIs(t, err, ErrUnavailable, "three descriptors are not enough")
		require.Error(t, e.Probe(t.Context()))
		e.set.files = 100

		require.Equal(t, toAlice, offer(t, e, params(alice, mux)))
		require.Equal(t, toBob, answer(t, e, params(bobRTP, "")))
		require.Equal(t, 4, e.files)
		alice.say(toBob, "y")
		bobRTP.hears(toAlice, "y")
		alice.send(toBob, rtcpPacket(3)) // she multiplexes still, and so gets hers
		b, _ := bobRTCP.get()
		require.Equal(t, rtcpPacket(3), b)
		bobRTCP.send(next(toAlice), rtcpPacket(2))
		b, _ = alice.get()
		require.Equal(t, rtcpPacket(2), b)
		require.NoError(t, e.Delete(t.Context(), testRef))
		require.Zero(t, e.files)
	})
}

// TestChurn sets up and ends calls while packets flow.
func TestChurn(t *testing.T) {
	bothLoops(t, func(t *testing.T, e *Embedded) {
		ctx := context.Background()
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				p := newPhone(t, "127.0.0.11")
				for i := range 30 {
					r := Ref{CallID: fmt.Sprint(g, "-", i%3), Leg: i % 2, FromTag: "f", ToTag: "t"}
					o, err := e.Offer(ctx, Params{Ref: r, SDP: audioSDP(p.addr()), Source: p.addr().Addr()})
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = e.Answer(ctx, Params{Ref: r, SDP: audioSDP(p.addr()), Source: p.addr().Addr()})
					p.say(mediaAt(t, o.SDP, 0), "x")
					_, _ = e.Query(ctx, r)
					e.Counters()
					_ = e.Delete(ctx, r)
				}
			})
		}
		wg.Wait()
		require.Zero(t, e.Counters().Sessions)
	})
}

func FuzzClassify(f *testing.F) {
	f.Add(rtpPacket(0, 1, 2, 3, []byte("x")))
	f.Add(rtcpPacket(1))
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		switch classify(b) {
		case classRTP:
			if len(b) < 12 {
				t.Fatal("short RTP")
			}
			var r rtpStats
			r.packet(b, 0, nil)
			r.packet(b, 1e9, nil)
			_ = r.continues(b)
		case classRTCP:
			if b[1] < 192 || b[1] > 223 {
				t.Fatal("not RTCP")
			}
		}
	})
}

func FuzzRepacketize(f *testing.F) {
	f.Add([]byte("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01payload."), uint16(20))
	f.Fuzz(func(t *testing.T, b []byte, ms uint16) {
		s := &relaySession{}
		out := &relaySide{session: s}
		r := (*repacketizer)(nil).with(time.Duration(ms) * time.Millisecond)
		for at := 0; r != nil && at < len(b); at++ {
			if p := append([]byte(nil), b[at:]...); classify(p) == classRTP {
				r.packet(p, out)
			}
		}
	})
}

func FuzzWAV(f *testing.F) {
	f.Add(wav(1, 1, 8000, 16, []byte{1, 2, 3, 4}), true)
	f.Fuzz(func(_ *testing.T, b []byte, alaw bool) { _, _ = wavToG711(b, alaw) })
}
