package rtprelay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/rtprelay/internal/rtpstub"
	"github.com/sipkit/sipkit/rtprelay/rtprelaytest"
)

const sdpA = "v=0\r\no=- 1 1 IN IP4 192.168.1.5\r\ns=-\r\nc=IN IP4 192.168.1.5\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0 8 101\r\na=sendrecv\r\n"

func params(call, sdp string) rtprelay.Params {
	return rtprelay.Params{Ref: rtprelay.Ref{CallID: call, FromTag: "f"}, SDP: sdp, Source: netip.MustParseAddr("198.51.100.7")}
}

// serve starts r on a socket of the given kind.
func serve(t *testing.T, r *rtpstub.Relay, kind string, n rtpstub.Network) *rtprelay.RTPProxy {
	t.Helper()
	e := &rtprelay.RTPProxy{}
	switch kind {
	case "udp", "udp6":
		addr := map[string]string{"udp": "127.0.0.1:0", "udp6": "[::1]:0"}[kind]
		pc, err := net.ListenPacket(kind, addr)
		if err != nil && kind == "udp6" {
			t.Skip("no IPv6 loopback")
		}
		require.NoError(t, err)
		t.Cleanup(func() { _ = pc.Close() })
		go r.ServeUDP(pc, n)
		e.Address = kind + ":" + pc.LocalAddr().String()
	case "tcp", "unix", "cunix":
		network, addr := "unix", filepath.Join(t.TempDir(), "s")
		if kind == "tcp" {
			network, addr = "tcp", "127.0.0.1:0"
		}
		l, err := net.Listen(network, addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go r.ServeStream(l, kind == "unix")
		e.Address = kind + ":" + l.Addr().String()
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// virtual connects e to r inside the process. network may be nil.
func virtual(r *rtpstub.Relay, network rtpstub.Network, delay time.Duration) *rtprelay.RTPProxy {
	c := &rtpstub.Cookies{Do: r.Do}
	dial := func(context.Context, string, string) (net.Conn, error) {
		return rtpstub.NewMemory(func(m *rtpstub.Memory, in string) {
			times := 1
			if network != nil {
				times = network(true, in)
			}
			for range times {
				out, ok := c.Datagram(in)
				copies := 1
				if !ok {
					continue
				}
				if network != nil {
					copies = network(false, out)
				}
				for range copies {
					if delay == 0 {
						m.Deliver(out)
					} else {
						time.AfterFunc(delay, func() { m.Deliver(out) })
					}
				}
			}
		}), nil
	}
	return &rtprelay.RTPProxy{Address: "udp:192.0.2.1", Dial: dial}
}

func TestRTPProxyContract(t *testing.T) {
	for _, kind := range []string{"udp", "udp6", "unix", "cunix", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			rtprelaytest.TestEngine(t, func() rtprelay.Engine { return serve(t, &rtpstub.Relay{}, kind, nil) })
		})
	}
}

// afterProbe are the commands without the probe.
func afterProbe(r *rtpstub.Relay) []string {
	var out []string
	for _, c := range r.Commands() {
		if !strings.HasPrefix(c, "V") {
			out = append(out, c)
		}
	}
	return out
}

func TestRTPProxyCommands(t *testing.T) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	r := &rtpstub.Relay{Notify: true, Bridge: true, Listeners: []rtpstub.Listener{{Addr: v4}, {Addr: v6, Label: "vsix"}}}
	e := serve(t, r, "udp", nil)
	e.Notify = "unix:/n.sock"
	ctx := t.Context()
	yes := true
	off := func(o rtprelay.Options) rtprelay.Params { p := params("c1", sdpA); p.Options = o; return p }
	swap := params("c1", sdpA)
	swap.ToTag, swap.Swap = "t", true
	leg := params("c2", "v=0\r\nm=audio 0 RTP/AVP 0\r\nm=image 5 udptl t38\r\nc=IN IP6 2001:db8::7\r\n")
	leg.Leg, leg.ToTag, leg.Options.TrustSDP = 3, "t", true
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := e.Offer(ctx, off(rtprelay.Options{})); return err }, "Usc0,8,101 c1 198.51.100.7 10000 f;1 unix:/n.sock c1%200%20f%20"},
		{func() error { _, err := e.Offer(ctx, off(rtprelay.Options{TrustSDP: true})); return err }, "Usc0,8,101 c1 192.168.1.5 10000 f;1 unix:/n.sock c1%200%20f%20"},
		{func() error {
			_, err := e.Offer(ctx, off(rtprelay.Options{Asymmetric: true, Repacketize: 60 * time.Millisecond}))
			return err
		}, "Uaz60c0,8,101 c1 192.168.1.5 10000 f;1 unix:/n.sock c1%200%20f%20"},
		{func() error { _, err := e.Offer(ctx, swap); return err }, "Usc0,8,101 c1 198.51.100.7 10000 t;1 f;1 unix:/n.sock c1%200%20f%20t"},
		{func() error { _, err := e.Answer(ctx, swap); return err }, "Lsc0,8,101 c1 198.51.100.7 10000 t;1 f;1"},
		{func() error { p := swap; p.Swap = false; _, err := e.Answer(ctx, p); return err }, "Lsc0,8,101 c1 198.51.100.7 10000 f;1 t;1"},
		{func() error { _, err := e.Offer(ctx, leg); return err }, "Us6 c2;leg3 2001:db8::7 5 f;2 t;2 unix:/n.sock c2%203%20f%20t"},
		{func() error { return e.Delete(ctx, leg.Ref) }, "D c2;leg3 f t"},
		{func() error {
			p := params("c3", sdpA)
			p.Options.From, p.Options.To = "internal", "external"
			_, err := e.Offer(ctx, p)
			return err
		}, "Usiec0,8,101 c3 198.51.100.7 10000 f;1 unix:/n.sock c3%200%20f%20"},
		{func() error { p := params("c4", sdpA); p.Options.IPv6 = &yes; _, err := e.Offer(ctx, p); return err }, "Usiec0,8,101 c4 198.51.100.7 10000 f;1 unix:/n.sock c4%200%20f%20"},
		{func() error {
			p := params("c5", sdpA)
			p.Options.RTPProxy = &rtprelay.RTPProxyOptions{Label: "vsix", NewPort: true, Weak: true, TTL: 90 * time.Second, TOS: 184, RouteTo: v4, TOSBack: 40, Modules: []string{"4:1 x"}}
			_, err := e.Offer(ctx, p)
			return err
		}, "Usc0,8,101wnl{vsix}r127.0.0.1 c5 198.51.100.7 10000 f;1 unix:/n.sock c5%200%20f%20 && S ttl=90 && S tos=184 && Sr tos=40 && M4:1 x"},
		{func() error { return e.DeleteWeak(ctx, rtprelay.Ref{CallID: "c5", FromTag: "f"}) }, "Dw c5 f"},
		{func() error { return e.Play(ctx, swap.Ref, false, "/moh", -1) }, "P-1 c1 /moh session f;1 t;1"},
		{func() error { return e.Play(ctx, swap.Ref, true, "/moh", 0) }, "P1 c1 /moh session t;1 f;1"},
		{func() error { return e.Stop(ctx, swap.Ref, true) }, "S c1 t;1 f;1"},
		{func() error { return e.Record(ctx, swap.Ref) }, "R c1 f t"},
		{func() error { return e.StopRecord(ctx, swap.Ref) }, "Na c1 f t"},
		{func() error { return e.Copy(ctx, swap.Ref, true, 1, "udp:127.0.0.1:17800") }, "C c1 udp:127.0.0.1:17800 t;1 f;1"},
		{func() error {
			a, err := e.CopyPort(ctx, swap.Ref, false, 1, "udp:127.0.0.1:17800")
			require.Equal(t, netip.MustParseAddrPort("127.0.0.1:36892"), a)
			return err
		}, "CP c1 udp:127.0.0.1:17800 f;1 t;1"},
		{func() error {
			m, err := e.Statistics(ctx, "nsess_created", "npkts_rcvd")
			require.Equal(t, map[string]string{"nsess_created": "0", "npkts_rcvd": "0"}, m)
			return err
		}, "Gv nsess_created npkts_rcvd"},
		{func() error { _, err := e.QueryCounters(ctx, swap.Ref, 1, "rtpa_nlost"); return err }, "Qv c1 f;1 t;1 rtpa_nlost"},
		{func() error { _, err := e.Info(ctx); return err }, "Il"},
		{func() error { _, err := e.Command(ctx, "Q c1 f;1 t;1 && D"); return err }, "Q c1 f;1 t;1 && D"},
		{func() error { return e.DeleteEverything(ctx) }, "X"},
	}
	for _, s := range steps {
		err := s.do()
		all := afterProbe(r)
		require.NotEmpty(t, all, s.want)
		require.Equal(t, s.want, all[len(all)-1])
		if strings.HasSuffix(s.want, "&& D") {
			continue // only sent here
		}
		if err != nil { // the stub keeps no codecs of the second party
			var refused *rtprelay.RefusedError
			require.ErrorAs(t, err, &refused, s.want)
			require.Equal(t, "E35", refused.Code, s.want)
		}
	}
	require.Len(t, r.Commands(), len(steps)+15, "probed once")
}

func TestRTPProxyRefusesInput(t *testing.T) {
	r := &rtpstub.Relay{}
	e := serve(t, r, "udp", nil)
	refs := []rtprelay.Ref{
		{CallID: "", FromTag: "f"}, {CallID: "a b", FromTag: "f"}, {CallID: "a\nX", FromTag: "f"}, {CallID: "&&", FromTag: "f"}, {CallID: "a\x00", FromTag: "f"}, {CallID: "c"},
		{CallID: "c", FromTag: "f g"}, {CallID: "c", FromTag: "f;1"}, {CallID: "c", FromTag: "f", ToTag: "t\n"}, {CallID: "c", FromTag: "f", Leg: -1},
	}
	for _, ref := range refs {
		p := params("", sdpA)
		p.Ref = ref
		_, err := e.Offer(t.Context(), p)
		var refused *rtprelay.RefusedError
		require.ErrorAs(t, err, &refused, "%q", ref)
		require.Equal(t, "input", refused.Code)
		require.ErrorAs(t, e.Delete(t.Context(), ref), &refused)
		require.ErrorAs(t, e.Play(t.Context(), ref, false, "x", 1), &refused)
	}
	p := params("c", sdpA)
	p.Options.From, p.Options.To = "internal", "elsewhere"
	_, err := e.Offer(t.Context(), p)
	require.ErrorIs(t, err, rtprelay.ErrUnsupported)
	p = params("c", strings.ReplaceAll(sdpA, "192.168.1.5", "pc.example.com"))
	p.Options.Asymmetric = true
	_, err = e.Offer(t.Context(), p)
	require.ErrorIs(t, err, rtprelay.ErrBadSDP)
	var refused *rtprelay.RefusedError
	for _, m := range []string{"", " ", "4:1 && X", "4:1 a\nX", "4:1 a\x00", "dtmf:1", "4", "4:", "0:1", "4:0", " 4:1"} {
		p = params("c", sdpA)
		p.Options.RTPProxy = &rtprelay.RTPProxyOptions{Modules: []string{m}}
		_, err = e.Offer(t.Context(), p)
		require.ErrorAs(t, err, &refused, "%q", m)
	}
	for _, line := range []string{"", " ", "V\nX", "V\x00"} {
		_, err = e.Command(t.Context(), line)
		require.ErrorAs(t, err, &refused, "%q", line)
	}
	p = params(strings.Repeat("x", 9000), sdpA)
	_, err = e.Offer(t.Context(), p)
	require.Error(t, err)
	require.Empty(t, afterProbe(r), "nothing of this reaches the relay")

	_, err = (&rtprelay.RTPProxy{Address: "udp:127.0.0.1", Notify: "unix:/a b"}).Offer(t.Context(), params("c", sdpA))
	require.ErrorContains(t, err, "notification address")
	for _, address := range []string{"", "udp:", "sctp:1", "127.0.0.1:1"} {
		_, err := (&rtprelay.RTPProxy{Address: address}).Offer(t.Context(), params("c", sdpA))
		require.ErrorContains(t, err, "control address")
	}
}

// fault answers U with reply and everything else as usual.
func fault(reply string) *rtpstub.Relay {
	return &rtpstub.Relay{Fault: func(c string) (string, bool) { return reply, strings.HasPrefix(c, "U") }}
}

func TestRTPProxyOddReplies(t *testing.T) {
	for _, reply := range []string{"", "hello", "0", "0 0.0.0.0", "36000", "36000 0.0.0.0", "36000 ::", "36000 host", "36000 224.0.0.1", "36000 127.0.0.1 6", "36000 ::1 4",
		"65535 127.0.0.1", "65536 127.0.0.1", "-1 127.0.0.1", "99999999999 127.0.0.1", "36000 127.0.0.1 4 x", "36000 127.0.0", "1e3 127.0.0.1", "36000 fe80::1%lo 6"} {
		e := serve(t, fault(reply), "udp", nil)
		_, err := e.Offer(t.Context(), params("c", sdpA))
		var odd *rtprelay.ReplyError
		require.ErrorAs(t, err, &odd, "%q", reply)
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		require.Equal(t, uint64(1), e.Counters().Odd)
	}
	e := serve(t, fault("36000"), "udp", nil)
	e.Default = netip.MustParseAddr("203.0.113.1")
	res, err := e.Offer(t.Context(), params("c", sdpA))
	require.NoError(t, err)
	require.Contains(t, res.SDP, "c=IN IP4 203.0.113.1\r\n")
	e = serve(t, fault("36000 127.0.0.1 4"), "udp", nil) // as rtpengine
	_, err = e.Offer(t.Context(), params("c", sdpA))
	require.NoError(t, err)
}

func TestRTPProxyErrorCodes(t *testing.T) {
	for code := range 100 {
		e := serve(t, fault(fmt.Sprintf("E%d", code)), "udp", nil)
		_, err := e.Offer(t.Context(), params("c", sdpA))
		var busy *rtprelay.BusyError
		var refused *rtprelay.RefusedError
		switch {
		case code == 50:
			require.ErrorIs(t, err, rtprelay.ErrNoSession)
		case code == 71 || code == 72 || code == 98 || code == 99 || (code > 80 && code < 90):
			require.ErrorAs(t, err, &busy, code)
			require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		default:
			require.ErrorAs(t, err, &refused, code)
			require.NotErrorIs(t, err, rtprelay.ErrUnavailable)
		}
	}
}

func TestRTPProxyProbe(t *testing.T) {
	for name, r := range map[string]*rtpstub.Relay{
		"another protocol":  {Fault: func(c string) (string, bool) { return "20300101", c == "V" }},
		"no multiple media": {Without: map[string]bool{"20050322": true}},
	} {
		e := serve(t, r, "udp", nil)
		require.ErrorIs(t, e.Probe(t.Context()), rtprelay.ErrUnavailable, name)
	}
	old := &rtpstub.Relay{Fault: func(c string) (string, bool) {
		if strings.HasPrefix(c, "VF") && c != "VF 20050322" {
			return "E1", true
		}
		return "", false
	}}
	e := serve(t, old, "udp", nil)
	require.NoError(t, e.Probe(t.Context()), "an error means no")
	_, err := e.Offer(t.Context(), params("c", sdpA))
	require.NoError(t, err)
	require.Equal(t, "Us c 198.51.100.7 10000 f;1", afterProbe(old)[0], "no codecs, no notification")
	_, err = e.Query(t.Context(), params("c", "").Ref)
	require.ErrorIs(t, err, rtprelay.ErrUnsupported)
	require.ErrorIs(t, e.StopRecord(t.Context(), params("c", "").Ref), rtprelay.ErrUnsupported)
	p := params("c", sdpA)
	p.Options.Repacketize = 20 * time.Millisecond
	_, err = e.Offer(t.Context(), p)
	require.ErrorIs(t, err, rtprelay.ErrUnsupported)
}

func TestRTPProxySecondStreamFails(t *testing.T) {
	two := sdpA + "m=video 10002 RTP/AVP 31\r\n"
	bad := func(c string) (string, bool) { return "E71", strings.HasPrefix(c, "U") && strings.Contains(c, "f;2") }
	synctest.Test(t, func(t *testing.T) {
		r := &rtpstub.Relay{Fault: bad}
		e := virtual(r, nil, 0)
		defer func() { _ = e.Close() }()
		_, err := e.Offer(t.Context(), params("c", two))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		synctest.Wait()
		require.Zero(t, r.Sessions(), "the first stream is deleted")

		_, err = e.Offer(t.Context(), params("c", sdpA))
		require.NoError(t, err)
		p := params("c", two)
		p.ToTag = "t"
		_, err = e.Offer(t.Context(), p)
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		synctest.Wait()
		require.Equal(t, 1, r.Sessions(), "a failed re-offer leaves the call alone")
	})
}

func TestRTPProxySilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		var at []time.Duration
		start := time.Now()
		e := virtual(&rtpstub.Relay{}, func(to bool, d string) int {
			sent, at = append(sent, d), append(at, time.Since(start))
			return 0
		}, 0)
		defer func() { _ = e.Close() }()
		_, err := e.Offer(t.Context(), params("c", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms}, at[:4])
		require.Equal(t, sent[0], sent[3], "the same cookie")
		time.Sleep(5 * time.Second) // the clean-up in the background gives up too
	})
}

// TestRTPProxyBadNetwork loses, repeats and delays datagrams both ways; every command is executed once.
func TestRTPProxyBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rtpstub.Relay{}
		n, mu := 0, sync.Mutex{}
		e := virtual(r, func(bool, string) int {
			mu.Lock()
			defer mu.Unlock()
			n++
			return []int{1, 0, 2, 1, 0, 1, 3, 0, 0, 1, 1}[n%11]
		}, 30*time.Millisecond)
		e.Timeout = 20 * time.Second
		defer func() { _ = e.Close() }()
		for i := range 50 {
			p := params(fmt.Sprintf("c%d", i), sdpA)
			_, err := e.Offer(t.Context(), p)
			require.NoError(t, err)
			p.ToTag = "t"
			_, err = e.Answer(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, e.Delete(t.Context(), p.Ref))
		}
		require.Zero(t, r.Sessions())
		require.Len(t, afterProbe(r), 150)
		c := e.Counters()
		require.NotZero(t, c.Repetitions)
		time.Sleep(time.Minute)
		require.NotZero(t, e.Counters().Late)
	})
}

func TestRTPProxyForeignCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rtpstub.Relay{}
		cookies := &rtpstub.Cookies{Do: r.Do}
		e := &rtprelay.RTPProxy{Address: "udp:192.0.2.1", Dial: func(context.Context, string, string) (net.Conn, error) {
			return rtpstub.NewMemory(func(m *rtpstub.Memory, in string) {
				m.Deliver("other 40000 192.0.2.66\n")
				m.Deliver("")
				m.Deliver("40000 192.0.2.66\n")
				out, _ := cookies.Datagram(in)
				m.Deliver(out)
			}), nil
		}}
		defer func() { _ = e.Close() }()
		res, err := e.Offer(t.Context(), params("c", sdpA))
		require.NoError(t, err)
		require.NotContains(t, res.SDP, "192.0.2.66")
		require.NotZero(t, e.Counters().Late)
	})
}

func TestRTPProxyCookiesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			e := virtual(&rtpstub.Relay{}, func(to bool, d string) int {
				mu.Lock()
				defer mu.Unlock()
				cookie, _, _ := strings.Cut(d, " ")
				if to {
					require.False(t, seen[cookie], "over restarts too")
					seen[cookie] = true
				}
				return 1
			}, 0)
			defer func() { _ = e.Close() }()
			require.NoError(t, e.Probe(t.Context()))
		})
	}
	require.Len(t, seen, 45)
}

func TestRTPProxyNobodyThere(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := pc.LocalAddr().String()
	require.NoError(t, pc.Close())
	for _, a := range []string{"udp:" + addr, "tcp:" + addr, "unix:" + filepath.Join(t.TempDir(), "none"), "cunix:" + filepath.Join(t.TempDir(), "none")} {
		e := &rtprelay.RTPProxy{Address: a}
		_, err := e.Offer(t.Context(), params("c", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable, a)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "known at once: "+a)
		require.NoError(t, e.Close())
		_, err = e.Offer(t.Context(), params("c", sdpA))
		require.Error(t, err)
	}
}

func TestRTPProxyStreamBreaks(t *testing.T) {
	for _, kind := range []string{"tcp", "cunix", "unix"} {
		t.Run(kind, func(t *testing.T) {
			var mu sync.Mutex
			broken := 0
			r := &rtpstub.Relay{Fault: func(c string) (string, bool) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(c, "U") && broken == 0 {
					broken++
					return "!", true
				}
				return "", false
			}}
			e := serve(t, r, kind, nil)
			_, err := e.Offer(t.Context(), params("c", sdpA))
			if kind == "unix" {
				require.ErrorIs(t, err, rtprelay.ErrUnavailable)
				return
			}
			require.NoError(t, err, "asked again over a new connection")
		})
	}
}

// TestRTPProxyStreamHangs: one missing reply makes the connection useless; the next command gets a new one.
func TestRTPProxyStreamHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		silent.Store(true)
		r := &rtpstub.Relay{Fault: func(c string) (string, bool) { return "-", silent.Load() && strings.HasPrefix(c, "U") }}
		var dials atomic.Int32
		e := &rtprelay.RTPProxy{Address: "tcp:192.0.2.1", Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			a, b := net.Pipe()
			go r.ServeConn(b, false)
			return a, nil
		}}
		defer func() { _ = e.Close() }()
		start := time.Now()
		_, err := e.Offer(t.Context(), params("c", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		require.Equal(t, time.Second, time.Since(start))
		time.Sleep(5 * time.Second)
		silent.Store(false)
		_, err = e.Offer(t.Context(), params("c", sdpA))
		require.NoError(t, err)
		require.GreaterOrEqual(t, dials.Load(), int32(2))
	})
}

func TestNotifications(t *testing.T) {
	got := make(chan rtprelay.Ref, 10)
	for _, listen := range []string{"tcp:127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "n.sock")} {
		n := &rtprelay.Notifications{Listen: listen, OnTimeout: func(r rtprelay.Ref) { got <- r }}
		require.NoError(t, n.Start())
		require.Error(t, n.Start())
		r := &rtpstub.Relay{Notify: true}
		e := serve(t, r, "udp", nil)
		e.Notify = n.Addr().Network() + ":" + n.Addr().String()
		p := params("a%b+c d@h"[:5]+"@[::1]", sdpA)
		p.Leg, p.ToTag, p.Swap = 4, "t~+%20", false
		_, err := e.Offer(t.Context(), p)
		require.NoError(t, err)
		words := strings.Fields(afterProbe(r)[0])
		tag := unquote(t, words[len(words)-1])
		require.Equal(t, e.Notify, words[len(words)-2])
		c, err := net.Dial(n.Addr().Network(), n.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "junk\n%s\n", tag)
		require.NoError(t, err)
		require.Equal(t, p.Ref, <-got)
		require.Equal(t, uint64(1), n.Odd())
		require.NoError(t, n.Close())
		require.NoError(t, c.Close())
	}
	require.Error(t, (&rtprelay.Notifications{Listen: "udp:1"}).Start())
}

// rtpengineSays is what a daemon of version 10.5 sends, with --xmlrpc-format as given.
func rtpengineSays(method string, args ...string) string {
	body := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodCall>\r\n<methodName>" + method + "</methodName>\r\n<params>\r\n"
	for _, a := range args {
		body += "<param><value><string>" + a + "</string></value></param>\r\n"
	}
	body += "</params>\r\n</methodCall>\r\n"
	return fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:28181\r\nAccept: */*\r\nContent-Type: text/xml\r\nUser-Agent: Xmlrpc-c/1.33.14 Curl/7.88.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestNotificationsOfRTPEngine: its XML-RPC calls, one a connection, are understood and answered; anything else is counted.
func TestNotificationsOfRTPEngine(t *testing.T) {
	got := make(chan rtprelay.Ref, 10)
	n := &rtprelay.Notifications{Listen: "http:127.0.0.1:0", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, OnTimeout: func(r rtprelay.Ref) { got <- r }}
	require.NoError(t, n.Start())
	defer func() { require.NoError(t, n.Close()) }()
	post := func(from, request string) string {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", n.Addr().String())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, request)
		_ = c.(*net.TCPConn).CloseWrite() // it may have hung up
		reply, _ := io.ReadAll(c)
		status, _, _ := strings.Cut(string(reply), "\r\n")
		return status
	}
	const good, bad = "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"
	require.Equal(t, good, post("127.0.0.1", rtpengineSays("dlg.terminate_dlg", "call1@h", "ft", "tt")))
	require.Equal(t, rtprelay.Ref{CallID: "call1@h", FromTag: "ft", ToTag: "tt"}, <-got)
	require.Equal(t, good, post("127.0.0.1", rtpengineSays("teardown", "a&lt;b&amp;c@h;leg12")))
	require.Equal(t, rtprelay.Ref{CallID: "a<b&c@h", Leg: 12}, <-got)
	whole := rtpengineSays("teardown", "x")
	odd := []string{
		"", "GET / HTTP/1.1\r\n\r\n", whole[:len(whole)-3], rtpengineSays("di", "sbc", "postControlCmd", "ft", "teardown"), rtpengineSays("teardown"), rtpengineSays("teardown", ""),
		rtpengineSays("dlg.terminate_dlg", "x", "f"), "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n<<<<",
		"POST / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 5000) + "\r\n",
	}
	for _, o := range odd {
		if s := post("127.0.0.1", o); s != "" { // it need not read all before it hangs up
			require.Equal(t, bad, s, o)
		}
	}
	require.Equal(t, uint64(len(odd)), n.Odd())
	require.Empty(t, post("127.0.0.2", whole), "not from there")
	require.Empty(t, got)
}

// unquote undoes %XX and nothing else, as the relay does.
func unquote(t *testing.T, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			var c byte
			_, err := fmt.Sscanf(s[i+1:i+3], "%02x", &c)
			require.NoError(t, err)
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func TestRTPProxyCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := virtual(&rtpstub.Relay{}, func(bool, string) int { return 0 }, 0)
		defer func() { _ = e.Close() }()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("x"))
		defer cancel()
		start := time.Now()
		_, err := e.Offer(ctx, params("c", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		require.Equal(t, 50*time.Millisecond, time.Since(start))
	})
}
