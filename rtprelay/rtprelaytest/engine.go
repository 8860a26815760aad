// Package rtprelaytest checks implementations of rtprelay.Engine against its contract, as testing/slogtest does for slog handlers.
//
//	func TestMyEngine(t *testing.T) {
//		rtprelaytest.TestEngine(t, func() rtprelay.Engine { return &MyEngine{} })
//	}
package rtprelaytest

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
)

const (
	callerAddr = "127.0.5.10"
	calleeAddr = "127.0.5.20"
)

// TestEngine runs every duty of the contract as a subtest. newEngine is called for each; what it returns is closed at the subtest's
// end if it has a Close method. The engine must be allowed to relay from and to 127.0.0.0/8, and need not move packets: only signalling is
// looked at.
func TestEngine(t *testing.T, newEngine func() rtprelay.Engine) {
	duties := []struct {
		name string
		run  func(*testing.T, rtprelay.Engine)
	}{
		{"a call", call},
		{"repeated offer and answer", repeated},
		{"offer in the other direction", swapped},
		{"late offer", lateOffer},
		{"several streams", severalStreams},
		{"refused stream", refusedStream},
		{"nothing to relay", nothing},
		{"hold", hold},
		{"marker", marker},
		{"bad description", badDescription},
		{"answer without offer", answerWithoutOffer},
		{"delete", deleted},
		{"legs are apart", legs},
		{"cancelled context", cancelled},
		{"query", query},
		{"play and record an unknown call", unknownCall},
		{"concurrent use", concurrent},
	}
	for _, d := range duties {
		t.Run(d.name, func(t *testing.T) {
			e := newEngine()
			if c, ok := e.(interface{ Close() error }); ok {
				defer func() { require.NoError(t, c.Close()) }()
			}
			d.run(t, e)
		})
	}
}

func body(addr string, port int, more string) string {
	return "v=0\r\no=- 1 1 IN IP4 " + addr + "\r\ns=-\r\nc=IN IP4 " + addr + "\r\nt=0 0\r\nm=audio " + strconv.Itoa(port) +
		" RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n" + more
}

func ref(call string) rtprelay.Ref {
	return rtprelay.Ref{CallID: call + "@rtprelaytest", FromTag: "from-" + call}
}

func offer(r rtprelay.Ref, sdp string) rtprelay.Params {
	return rtprelay.Params{Ref: r, SDP: sdp, Source: netip.MustParseAddr(callerAddr)}
}

func answer(r rtprelay.Ref, sdp string) rtprelay.Params {
	r.ToTag = "to-" + r.FromTag
	return rtprelay.Params{Ref: r, SDP: sdp, Source: netip.MustParseAddr(calleeAddr)}
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// relayed checks that res is a whole rewriting of in.
func relayed(t *testing.T, in string, res rtprelay.Result) *rtprelay.Description {
	t.Helper()
	before, err := rtprelay.ParseSDP(in)
	require.NoError(t, err)
	after, err := rtprelay.ParseSDP(res.SDP)
	require.NoError(t, err)
	require.Len(t, after.Media, len(before.Media), "no section may be lost")
	n := 0
	for i := range before.Media {
		b, a := &before.Media[i], &after.Media[i]
		require.Equal(t, b.Type, a.Type)
		if b.Port == 0 {
			require.Zero(t, a.Port, "a refused stream stays refused")
			continue
		}
		n++
		require.NotZero(t, a.Port)
		require.True(t, a.Addr.IsValid())
		if b.Held() {
			require.True(t, a.Held(), "hold stays hold")
			continue
		}
		require.False(t, a.Addr.IsUnspecified() || a.Addr.IsMulticast(), "%s", a.Addr)
		require.NotEqual(t, b.Addr, a.Addr, "the party's own address must be gone")
	}
	require.Equal(t, n, res.Streams)
	require.True(t, after.Marked, "a=nortpproxy:yes must be added")
	return after
}

func call(t *testing.T, e rtprelay.Engine) {
	r, in := ref("call"), body(callerAddr, 10000, "")
	res, err := e.Offer(timeout(t), offer(r, in))
	require.NoError(t, err)
	o := relayed(t, in, res)
	in = body(calleeAddr, 20000, "")
	p := answer(r, in)
	res, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	a := relayed(t, in, res)
	require.NotEqual(t, o.Media[0].Port, a.Media[0].Port, "each party has its own port")
	require.NoError(t, e.Delete(timeout(t), p.Ref))
	_, err = e.Answer(timeout(t), p)
	require.ErrorIs(t, err, rtprelay.ErrNoSession)
}

func repeated(t *testing.T, e rtprelay.Engine) {
	r := ref("repeated")
	p := offer(r, body(callerAddr, 10000, ""))
	first, err := e.Offer(timeout(t), p)
	require.NoError(t, err)
	again, err := e.Offer(timeout(t), p)
	require.NoError(t, err)
	require.Equal(t, first, again, "a retransmission gets the same description")
	p = answer(r, body(calleeAddr, 20000, ""))
	first, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	again, err = e.Answer(timeout(t), p) // 183, then 200
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func swapped(t *testing.T, e rtprelay.Engine) {
	r := ref("swapped")
	in := body(callerAddr, 10000, "")
	_, err := e.Offer(timeout(t), offer(r, in))
	require.NoError(t, err)
	p := answer(r, body(calleeAddr, 20000, ""))
	_, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	// the callee re-INVITEs
	p.Swap, p.SDP = true, body(calleeAddr, 20010, "")
	res, err := e.Offer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	p.SDP, p.Source = body(callerAddr, 10010, ""), netip.MustParseAddr(callerAddr)
	res, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func lateOffer(t *testing.T, e rtprelay.Engine) {
	p := answer(ref("late"), body(calleeAddr, 20000, ""))
	p.Swap = true
	res, err := e.Offer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	p.SDP, p.Source = body(callerAddr, 10000, ""), netip.MustParseAddr(callerAddr)
	res, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func severalStreams(t *testing.T, e rtprelay.Engine) {
	r := ref("streams")
	in := body(callerAddr, 10000, "m=video 10002 RTP/AVP 31\r\na=sendrecv\r\n")
	res, err := e.Offer(timeout(t), offer(r, in))
	require.NoError(t, err)
	d := relayed(t, in, res)
	require.NotEqual(t, d.Media[0].Port, d.Media[1].Port)
	p := answer(r, body(calleeAddr, 20000, "m=video 20002 RTP/AVP 31\r\na=sendrecv\r\n"))
	res, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func refusedStream(t *testing.T, e rtprelay.Engine) {
	r := ref("refused")
	in := body(callerAddr, 0, "m=video 10002 RTP/AVP 31\r\na=sendrecv\r\n")
	res, err := e.Offer(timeout(t), offer(r, in))
	require.NoError(t, err)
	relayed(t, in, res)
	p := answer(r, body(calleeAddr, 0, "m=video 20002 RTP/AVP 31\r\na=sendrecv\r\n"))
	res, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, p.SDP, res)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func nothing(t *testing.T, e rtprelay.Engine) {
	for _, in := range []string{"v=0\r\no=- 1 1 IN IP4 127.0.5.10\r\ns=-\r\nt=0 0\r\n", body(callerAddr, 0, "")} {
		res, err := e.Offer(timeout(t), offer(ref("nothing"), in))
		require.NoError(t, err)
		require.Equal(t, rtprelay.Result{SDP: in}, rtprelay.Result{SDP: res.SDP, Streams: res.Streams}, "unchanged")
	}
}

func hold(t *testing.T, e rtprelay.Engine) {
	r := ref("hold")
	in := strings.Replace(body(callerAddr, 10000, ""), "c=IN IP4 "+callerAddr, "c=IN IP4 0.0.0.0", 1)
	res, err := e.Offer(timeout(t), offer(r, in))
	require.NoError(t, err)
	relayed(t, in, res)
	require.NoError(t, e.Delete(timeout(t), r))
}

func marker(t *testing.T, e rtprelay.Engine) {
	r, in := ref("marker"), body(callerAddr, 10000, "a=nortpproxy:yes\r\n")
	p := offer(r, in)
	_, err := e.Offer(timeout(t), p)
	require.ErrorIs(t, err, rtprelay.ErrAlreadyRelayed)
	p.Options.Force = true
	res, err := e.Offer(timeout(t), p)
	require.NoError(t, err)
	relayed(t, in, res)
	require.Equal(t, 1, strings.Count(res.SDP, "a=nortpproxy:yes"))
	require.NoError(t, e.Delete(timeout(t), r))

	p = offer(ref("nomark"), body(callerAddr, 10000, ""))
	p.Options.NoMark = true
	res, err = e.Offer(timeout(t), p)
	require.NoError(t, err)
	require.NotContains(t, res.SDP, "nortpproxy")
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func badDescription(t *testing.T, e rtprelay.Engine) {
	for _, in := range []string{"", "hello", "v=0\r\nm=audio\r\n", "v=0\r\nm=audio 70000 RTP/AVP 0\r\n"} {
		_, err := e.Offer(timeout(t), offer(ref("bad"), in))
		require.ErrorIs(t, err, rtprelay.ErrBadSDP, "%q", in)
		_, err = e.Answer(timeout(t), answer(ref("bad"), in))
		require.ErrorIs(t, err, rtprelay.ErrBadSDP, "%q", in)
	}
}

func answerWithoutOffer(t *testing.T, e rtprelay.Engine) {
	_, err := e.Answer(timeout(t), answer(ref("unoffered"), body(calleeAddr, 20000, "")))
	require.ErrorIs(t, err, rtprelay.ErrNoSession)
}

func deleted(t *testing.T, e rtprelay.Engine) {
	r := ref("deleted")
	require.NoError(t, e.Delete(timeout(t), r), "an unknown session is not an error")
	_, err := e.Offer(timeout(t), offer(r, body(callerAddr, 10000, "")))
	require.NoError(t, err)
	require.NoError(t, e.Delete(timeout(t), r), "before there is an answer")
	require.NoError(t, e.Delete(timeout(t), r))
}

func legs(t *testing.T, e rtprelay.Engine) {
	one, two := ref("legs"), ref("legs")
	one.Leg, two.Leg = 1, 2
	a, err := e.Offer(timeout(t), offer(one, body(callerAddr, 10000, "")))
	require.NoError(t, err)
	b, err := e.Offer(timeout(t), offer(two, body(callerAddr, 10000, "")))
	require.NoError(t, err)
	require.NotEqual(t, a.SDP, b.SDP, "each branch has its own session")
	require.NoError(t, e.Delete(timeout(t), one))
	p := answer(two, body(calleeAddr, 20000, ""))
	_, err = e.Answer(timeout(t), p)
	require.NoError(t, err, "the other branch goes on")
	_, err = e.Answer(timeout(t), answer(one, body(calleeAddr, 20000, "")))
	require.ErrorIs(t, err, rtprelay.ErrNoSession)
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func cancelled(t *testing.T, e rtprelay.Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := ref("cancelled")
	res, err := e.Offer(ctx, offer(r, body(callerAddr, 10000, "")))
	if err == nil { // an engine that does not wait need not look at ctx
		require.NotEmpty(t, res.SDP)
	} else {
		require.Empty(t, res.SDP, "no half description")
	}
	require.NoError(t, e.Delete(timeout(t), r))
}

func query(t *testing.T, e rtprelay.Engine) {
	r := ref("query")
	_, err := e.Query(timeout(t), r)
	require.True(t, errors.Is(err, rtprelay.ErrNoSession) || errors.Is(err, rtprelay.ErrUnsupported), "%v", err)
	_, err = e.Offer(timeout(t), offer(r, body(callerAddr, 10000, "")))
	require.NoError(t, err)
	p := answer(r, body(calleeAddr, 20000, ""))
	_, err = e.Answer(timeout(t), p)
	require.NoError(t, err)
	s, err := e.Query(timeout(t), p.Ref)
	if !errors.Is(err, rtprelay.ErrUnsupported) {
		require.NoError(t, err)
		require.Zero(t, s.Packets)
	}
	require.NoError(t, e.Delete(timeout(t), p.Ref))
}

func unknownCall(t *testing.T, e rtprelay.Engine) {
	r := answer(ref("nobody"), "").Ref
	no := func(err error) {
		require.True(t, errors.Is(err, rtprelay.ErrNoSession) || errors.Is(err, rtprelay.ErrUnsupported), "%v", err)
	}
	if p, ok := e.(rtprelay.Player); ok {
		no(p.Play(timeout(t), r, false, "rtprelaytest", 1))
		no(p.Stop(timeout(t), r, false))
	}
	if p, ok := e.(rtprelay.Recorder); ok {
		no(p.Record(timeout(t), r))
		no(p.StopRecord(timeout(t), r))
	}
	if p, ok := e.(rtprelay.Prober); ok {
		require.NoError(t, p.Probe(timeout(t)))
	}
}

func concurrent(t *testing.T, e rtprelay.Engine) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := ref("concurrent" + strconv.Itoa(i))
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if _, err := e.Offer(ctx, offer(r, body(callerAddr, 10000+i*2, ""))); err != nil {
				t.Error(err)
			}
			p := answer(r, body(calleeAddr, 20000+i*2, ""))
			if _, err := e.Answer(ctx, p); err != nil {
				t.Error(err)
			}
			if err := e.Delete(ctx, p.Ref); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
