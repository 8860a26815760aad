package rtprelay_test

import (
	"context"
	"net"
	"net/netip"
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
