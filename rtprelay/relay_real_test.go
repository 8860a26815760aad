package rtprelay_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// An earpiece sends and receives the media of a phone.
type earpiece struct {
	t *testing.T
	*net.UDPConn
	seq uint16
}

func newEarpiece(t *testing.T) *earpiece {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &earpiece{t: t, UDPConn: c}
}

func (e *earpiece) sdp() string {
	at := e.LocalAddr().(*net.UDPAddr).AddrPort()
	return audio(at.Addr().Unmap().String(), int(at.Port()), "")
}

func (e *earpiece) say(body, word string) {
	e.t.Helper()
	d, err := rtprelay.ParseSDP(body)
	require.NoError(e.t, err)
	e.seq++
	packet := append([]byte{0x80, 0, 0, byte(e.seq), 0, 0, 0, byte(e.seq), 1, 2, 3, 4}, word...)
	_, err = e.WriteToUDPAddrPort(packet, netip.AddrPortFrom(d.Media[0].Addr, d.Media[0].Port))
	require.NoError(e.t, err)
}

func (e *earpiece) hears(word string) {
	e.t.Helper()
	b := make([]byte, 1500)
	require.NoError(e.t, e.SetReadDeadline(time.Now().Add(time.Minute)))
	n, _, err := e.ReadFromUDPAddrPort(b)
	require.NoError(e.t, err)
	require.Equal(e.t, word, string(b[12:n]))
}

// TestRelayRealMedia: a whole call with packets both ways on real sockets, as a main wires it: relay, calls, record-routing. Phones that fall silent both get a
// BYE.
func TestRelayRealMedia(t *testing.T) {
	for _, mode := range []sipproxy.RunnerMode{sipproxy.Goroutines, sipproxy.Coroutines} {
		t.Run(map[sipproxy.RunnerMode]string{sipproxy.Goroutines: "goroutines", sipproxy.Coroutines: "coroutines"}[mode], func(t *testing.T) {
			realCall(t, mode)
		})
	}
}

// TestRelayRefusedOfferMedia: after an offer with another address was refused, the old addresses hear what they heard before, through each engine.
func TestRelayRefusedOfferMedia(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		e := &rtprelay.Embedded{Interfaces: lo}
		defer func() { require.NoError(t, e.Close()) }()
		refusedOffers(t, e)
		require.Zero(t, e.Counters().Sessions, "of the second stream neither")
	})
	t.Run("rtpproxy", func(t *testing.T) {
		e := &rtprelay.Embedded{Interfaces: lo}
		c := &rtprelay.Control{Engine: e, Listen: []string{"udp:127.0.0.1:0"}}
		require.NoError(t, c.Start())
		client := &rtprelay.RTPProxy{Address: "udp:" + c.Addrs()[0].String()}
		defer func() { require.NoError(t, errors.Join(client.Close(), c.Close(), e.Close())) }()
		refusedOffers(t, client)
	})
	t.Run("rtpengine", func(t *testing.T) {
		e := &rtprelay.NG{Address: "udp:" + startRTPEngine(t).ng}
		defer func() { require.NoError(t, e.Close()) }()
		refusedOffers(t, e)
	})
}

func refusedOffers(t *testing.T, engine rtprelay.Engine) {
	relay := &rtprelay.Relay{Engine: engine}
	alice := &siptest.Phone{T: t, Net: transport.SystemNet{}, Name: "alice", Listen: "127.0.0.1:0", Wait: 20 * time.Second}
	bob := &siptest.Phone{T: t, Net: transport.SystemNet{}, Name: "bob", Listen: "127.0.0.1:0", Wait: 20 * time.Second}
	refuse := func(_ *siptest.Call, r *sip.Request) *sip.Response {
		if r.Method == sip.INVITE {
			return sip.NewResponse(r, 488, "", "")
		}
		return nil
	}
	alice.Serve, bob.Serve = refuse, refuse
	alice.Start()
	bob.Start()
	s := &sipproxy.Server{
		Listen: []string{"udp:127.0.0.1:0"}, Drain: -1,
		Handler: sipproxy.Chain{relay.Middleware, recordroute.Router{Params: relay.Params}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bob.Addr().String())})
			}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	alice.Proxy = s.Addrs()[0].AddrPort.String()

	mouth, ear, elsewhere := newEarpiece(t), newEarpiece(t), newEarpiece(t)
	alice.SDP, bob.SDP = mouth.sdp(), ear.sdp()
	call := alice.Invite(t, "sip:bob@example.com")
	call.Expect(180)
	answer := call.Expect(200).Body()
	call.Ack()
	in := bob.Incoming(t)
	in.ExpectAck()
	offer := in.Invitation().Body()
	both := func() {
		t.Helper()
		ear.say(offer, "hi") // who speaks first would be learned from his packets, were his address not known any more
		mouth.hears("hi")
		mouth.say(answer, "hello")
		ear.hears("hello")
	}
	both()
	body := func(sdp string) func(*sip.Request) {
		return func(r *sip.Request) { r.SetBody("application/sdp", sdp) }
	}
	for i := range 3 {
		c, other := call, in
		if i == 1 {
			c, other = in, call
		}
		c.Start(sip.INVITE, body(elsewhere.sdp()+"m=video 4000 RTP/AVP 99\r\n")).Expect(488)
		turnedDown(other, sip.INVITE)
		both()
		mouth.say(answer, "and again") // mouth has not moved, whatever ear's refused offer said
		ear.hears("and again")
		c.Start(sip.INVITE, body(strings.Replace(elsewhere.sdp(), "c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0", 1))).Expect(488)
		turnedDown(other, sip.INVITE)
		both()
	}
	call.Bye()
	in.ExpectBye()
	alice.Close()
	bob.Close()
	cancel()
	require.NoError(t, <-done)
	require.Zero(t, relay.Stats().Legs)
	require.EqualValues(t, 6, relay.Stats().Rolled)
}

func realCall(t *testing.T, mode sipproxy.RunnerMode) {
	events := make(chan dialog.Event, 10)
	engine := &rtprelay.Embedded{
		Interfaces: []rtprelay.Interface{{Name: "lo", Addr: netip.MustParseAddr("127.0.0.1"), Low: 31000, High: 31999}},
		Timeout:    2 * time.Second,
	}
	defer func() { require.NoError(t, engine.Close()) }()
	relay := &rtprelay.Relay{Engine: engine}
	calls := &dialog.Tracker{OnEvent: func(e dialog.Event) { events <- e }, Media: relay.Media}
	relay.OnTimeout = func(r rtprelay.Ref) {
		go func() {
			_ = calls.End(context.Background(), dialog.ID{CallID: r.CallID, CallerTag: r.FromTag, CalleeTag: r.ToTag}, "no media")
		}()
	}
	engine.OnTimeout = relay.TimedOut

	alice := &siptest.Phone{T: t, Net: transport.SystemNet{}, Name: "alice", Listen: "127.0.0.1:0", Wait: 20 * time.Second}
	bob := &siptest.Phone{T: t, Net: transport.SystemNet{}, Name: "bob", Listen: "127.0.0.1:0", Wait: 20 * time.Second}
	alice.Start()
	bob.Start()
	s := &sipproxy.Server{
		Listen: []string{"udp:127.0.0.1:0"}, Drain: -1, Runner: mode,
		Handler: sipproxy.Chain{calls.Middleware, relay.Middleware, recordroute.Router{Params: relay.Params}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bob.Addr().String())})
			}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	alice.Proxy = s.Addrs()[0].AddrPort.String()

	mouth, ear := newEarpiece(t), newEarpiece(t)
	alice.SDP, bob.SDP = mouth.sdp(), ear.sdp()
	for _, hangUp := range []bool{true, false} {
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		answer := call.Expect(200).Body()
		call.Ack()
		in := bob.Incoming(t)
		in.ExpectAck()
		offer := in.Invitation().Body()
		require.NotEqual(t, alice.SDP, offer)
		mouth.say(answer, "hello")
		ear.hears("hello")
		ear.say(offer, "hi")
		mouth.hears("hi")
		require.Equal(t, dialog.Start, (<-events).Kind)
		if hangUp {
			in.Bye()
			call.ExpectBye()
			stop := <-events
			require.Equal(t, dialog.Stop, stop.Kind)
			require.NotNil(t, stop.Media)
			require.Equal(t, [2]uint64{1, 1}, stop.Media.Packets)
		} else {
			require.Equal(t, `SIP;text="no media"`, call.ExpectBye().Get("Reason"))
			in.ExpectBye()
			require.Equal(t, "no media", (<-events).Reason)
		}
	}
	alice.Close()
	bob.Close()
	cancel()
	require.NoError(t, <-done)
	require.Zero(t, engine.Counters().Calls)
	require.Zero(t, relay.Stats().Legs)
	require.False(t, calls.Busy())
}
