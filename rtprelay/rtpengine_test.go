//go:build unix

package rtprelay_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
	"github.com/sipkit/sipkit/internal/sipp"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/rtprelay/rtprelaytest"
)

// rtpengine is Debian's daemon, started for one test.
type rtpengine struct {
	ng, tcp, legacy string // control addresses
	dir             string
	process         *os.Process
}

// rtpengines gives each daemon ports of its own.
var rtpengines atomic.Int32

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := sipp.Port("127.0.0.1")
	require.NoError(t, err)
	return addr
}

func startRTPEngine(t *testing.T) *rtpengine {
	t.Helper()
	if testing.Short() {
		t.Skip("rtpengine: not in short mode")
	}
	programs.Need(t, "rtpengine")
	e := &rtpengine{ng: freePort(t), tcp: freePort(t), legacy: freePort(t), dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Join(e.dir, "rec"), 0o700))
	n := 40000 + 500*int(rtpengines.Add(1)%12)
	low, high := strconv.Itoa(n), strconv.Itoa(n+499)
	cmd := exec.Command("rtpengine", "--config-file=none", "--table=-1", "--interface=127.0.0.1", "--listen-ng="+e.ng, "--listen-udp="+e.legacy, "--listen-tcp-ng="+e.tcp,
		"--listen-cli="+freePort(t), "--port-min="+low, "--port-max="+high, "--foreground", "--log-stderr", "--log-level=4", "--pidfile="+filepath.Join(e.dir, "pid"),
		"--recording-dir="+filepath.Join(e.dir, "rec"), "--recording-method=pcap", "--timeout=10", "--delete-delay=0", "--num-threads=2")
	var log strings.Builder
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	e.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	probe := &rtprelay.NG{Address: "udp:" + e.ng}
	defer func() { _ = probe.Close() }()
	require.Eventually(t, func() bool { return probe.Probe(t.Context()) == nil }, time.Minute, 20*time.Millisecond)
	return e
}

func TestNGAgainstRTPEngine(t *testing.T) {
	d := startRTPEngine(t)
	for _, address := range []string{"udp:" + d.ng, "tcp:" + d.tcp} {
		t.Run(address[:3], func(t *testing.T) {
			rtprelaytest.TestEngine(t, func() rtprelay.Engine { return &rtprelay.NG{Address: address} })
		})
	}
}

// TestRTPProxyAgainstRTPEngine: the daemon's legacy port speaks RTPProxy's protocol, for calls of one stream without Q, P, R.
func TestRTPProxyAgainstRTPEngine(t *testing.T) {
	d := startRTPEngine(t)
	e := &rtprelay.RTPProxy{Address: "udp:" + d.legacy}
	defer func() { _ = e.Close() }()
	ctx := t.Context()
	require.NoError(t, e.Probe(ctx))
	p := params("legacy", sdpA)
	p.Source = netip.MustParseAddr("127.0.5.10")
	offered, err := e.Offer(ctx, p)
	require.NoError(t, err)
	require.Contains(t, offered.SDP, "c=IN IP4 127.0.0.1\r\n")
	again, err := e.Offer(ctx, p)
	require.NoError(t, err)
	require.Equal(t, offered, again)
	p.ToTag, p.Source = "t", netip.MustParseAddr("127.0.5.20")
	answered, err := e.Answer(ctx, p)
	require.NoError(t, err)
	require.NotEqual(t, offered, answered)
	_, err = e.Query(ctx, p.Ref)
	require.ErrorIs(t, err, rtprelay.ErrUnsupported, "a query would hang the daemon")
	require.ErrorIs(t, e.Play(ctx, p.Ref, false, "x", 1), rtprelay.ErrUnsupported)
	require.ErrorIs(t, e.Record(ctx, p.Ref), rtprelay.ErrUnsupported)
	require.NoError(t, e.Delete(ctx, p.Ref))
	require.NoError(t, e.Delete(ctx, p.Ref))
	_, err = e.Answer(ctx, p)
	require.ErrorIs(t, err, rtprelay.ErrNoSession)
	two := params("two", sdpA+"m=video 10002 RTP/AVP 31\r\n")
	_, err = e.Offer(ctx, two)
	require.ErrorIs(t, err, rtprelay.ErrUnavailable, "its second stream has no address: nothing half-rewritten comes out")
}

// TestNGMedia sends packets through a call and looks at what the daemon counts, plays and records.
func TestNGMedia(t *testing.T) {
	d := startRTPEngine(t)
	e := &rtprelay.NG{Address: "udp:" + d.ng}
	defer func() { _ = e.Close() }()
	ctx := t.Context()
	caller, callee := listenUDP(t, "127.0.0.1"), listenUDP(t, "127.0.0.1")
	p := params("media", sdpFor(caller))
	p.Source = netip.MustParseAddr("127.0.0.1")
	offered, err := e.Offer(ctx, p)
	require.NoError(t, err)
	p.ToTag, p.SDP = "t", sdpFor(callee)
	answered, err := e.Answer(ctx, p)
	require.NoError(t, err)
	require.NoError(t, e.Record(ctx, p.Ref))
	for i := range 5 {
		send(t, caller, target(t, answered.SDP), i)
		receive(t, callee)
	}
	for i := range 3 {
		send(t, callee, target(t, offered.SDP), i)
		receive(t, caller)
	}
	require.Eventually(t, func() bool {
		s, err := e.Query(ctx, p.Ref)
		return err == nil && s.Packets == [2]uint64{5, 3} && s.Bytes == [2]uint64{5 * 172, 3 * 172}
	}, 5*time.Second, 50*time.Millisecond)
	require.NoError(t, e.StopRecord(ctx, p.Ref))

	moh := filepath.Join(d.dir, "moh.wav")
	require.NoError(t, os.WriteFile(moh, silentWAV(), 0o600))
	require.NoError(t, e.Play(ctx, p.Ref, true, moh, -1))
	receive(t, callee)
	require.NoError(t, e.Stop(ctx, p.Ref, true))
	require.NoError(t, e.Play(ctx, p.Ref, false, moh, 0))
	receive(t, caller)
	require.NoError(t, e.Stop(ctx, p.Ref, false))
	var refused *rtprelay.RefusedError
	require.ErrorAs(t, e.Play(ctx, p.Ref, false, "/nosuch.wav", 1), &refused)
	stats, err := e.Statistics(ctx)
	require.NoError(t, err)
	require.Contains(t, stats, "currentstatistics")
	require.NoError(t, e.Delete(ctx, p.Ref))
	_, err = e.Query(ctx, p.Ref)
	require.ErrorIs(t, err, rtprelay.ErrNoSession)
}

// TestNGOptionsArrive: what we ask for is done.
func TestNGOptionsArrive(t *testing.T) {
	d := startRTPEngine(t)
	e := &rtprelay.NG{Address: "udp:" + d.ng}
	defer func() { _ = e.Close() }()
	p := params("opt", sdpA)
	p.Options.NG = &rtprelay.NGOptions{
		Transport: "UDP/TLS/RTP/SAVPF", ICE: "force", RTCPMux: []string{"offer", "require"}, SDES: []string{"off"}, Flags: []string{"generate-mid"},
		Codec: rtprelay.NGCodec{Strip: []string{"PCMA"}, Transcode: []string{"PCMU"}}, PTime: 40 * time.Millisecond, TOS: 184,
	}
	res, err := e.Offer(t.Context(), p)
	require.NoError(t, err)
	for _, want := range []string{"UDP/TLS/RTP/SAVPF 0", "a=candidate:", "a=rtcp-mux", "a=fingerprint:", "a=mid:", "a=ptime:40", "o=- 1 1 IN IP4 127.0.0.1", "a=nortpproxy:yes\r\n"} {
		require.Contains(t, res.SDP, want)
	}
	require.NotContains(t, res.SDP, "a=crypto")
	p = params("opt2", sdpA)
	p.Options.KeepOrigin, p.Options.Address = true, netip.MustParseAddr("203.0.113.77")
	res, err = e.Offer(t.Context(), p)
	require.NoError(t, err)
	require.Contains(t, res.SDP, "o=- 1 1 IN IP4 192.168.1.5\r\n")
	require.Contains(t, res.SDP, "c=IN IP4 203.0.113.77\r\n")
}

// TestSetOfRTPEngines: one is stopped (it hangs: its socket takes requests and says nothing), one killed; every call is served by the rest.
func TestSetOfRTPEngines(t *testing.T) {
	daemons := map[string]*rtpengine{"a": startRTPEngine(t), "b": startRTPEngine(t), "c": startRTPEngine(t)}
	s := &rtprelay.Set{}
	for _, name := range []string{"a", "b", "c"} {
		s.Members = append(s.Members, rtprelay.Member{Name: name, Engine: &rtprelay.NG{Address: "udp:" + daemons[name].ng, Timeout: 500 * time.Millisecond}})
	}
	defer func() { _ = s.Close() }()
	for i := range 30 {
		offerAt(t, s, fmt.Sprint("before", i))
	}
	require.NoError(t, daemons["a"].process.Signal(syscall.SIGSTOP))
	require.NoError(t, daemons["b"].process.Kill())
	for i := range 30 {
		require.Equal(t, "c", offerAt(t, s, fmt.Sprint("after", i)))
	}
	require.LessOrEqual(t, s.Nodes()[0].Failures, uint64(2), "its silence is met once, and once more if a probe came in between")
	require.NoError(t, daemons["a"].process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return s.Nodes()[0].Up }, time.Minute, 50*time.Millisecond)
	require.False(t, s.Nodes()[1].Up)
	served := map[string]int{}
	for i := range 60 {
		served[offerAt(t, s, fmt.Sprint("again", i))]++
	}
	require.NotZero(t, served["a"])
	require.Zero(t, served["b"])
}

func listenUDP(t *testing.T, addr string) *net.UDPConn {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func sdpFor(c *net.UDPConn) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=sendrecv\r\n", c.LocalAddr().(*net.UDPAddr).Port)
}

func target(t *testing.T, sdp string) netip.AddrPort {
	d, err := rtprelay.ParseSDP(sdp)
	require.NoError(t, err)
	return netip.AddrPortFrom(d.Media[0].Addr, d.Media[0].Port)
}

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, seq int) {
	p := make([]byte, 172)
	p[0], p[3], p[7], p[11] = 0x80, byte(seq), byte(160*seq), 9
	_, err := c.WriteToUDPAddrPort(p, to)
	require.NoError(t, err)
}

func receive(t *testing.T, c *net.UDPConn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, _, err := c.ReadFromUDPAddrPort(make([]byte, 2000))
	require.NoError(t, err)
}

// silentWAV is one second of silence, 8 kHz, 16 bits, mono.
func silentWAV() []byte {
	const n = 16000
	h := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x80\x3e\x00\x00")
	h[4], h[5] = byte((36+n)&0xff), byte((36+n)>>8)
	return append(h, make([]byte, n)...)
}
