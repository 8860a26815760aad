package dialog_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// A book keeps the events it is told.
type book struct {
	mu   sync.Mutex
	list []dialog.Event
}

func (b *book) note(e dialog.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, e)
}

func (b *book) events() []dialog.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]dialog.Event(nil), b.list...)
}

// kinds are the events so far, once the handlers have returned.
func (b *book) kinds() string {
	settle()
	var names []string
	for _, e := range b.events() {
		names = append(names, e.Kind.String())
	}
	return strings.Join(names, " ")
}

const (
	aliceIP = "192.0.2.10"
	bobIP   = "192.0.2.20"
	carolIP = "192.0.2.30"
)

// run starts a proxy that record-routes and sends calls to the hosts given, at once, and gives its tracker and its book. edit may change
// the tracker before.
func run(t *testing.T, k *siptest.Kit, edit func(*dialog.Tracker), hosts ...string) (*dialog.Tracker, *book) {
	b := &book{}
	tr := &dialog.Tracker{OnEvent: b.note}
	if edit != nil {
		edit(tr)
	}
	k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(fork(hosts...))})
	return tr, b
}

func fork(hosts ...string) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		var list []sipproxy.Target
		for _, h := range hosts {
			list = append(list, sipproxy.Target{URI: r.URI.WithHostPort(h)})
		}
		return r.Forward(ctx, list...)
	}
}

// empty fails the test when the tracker still holds anything once the handlers have returned.
func empty(t *testing.T, tr *dialog.Tracker) {
	t.Helper()
	settle()
	for d := range tr.All() {
		t.Errorf("left over: %+v", d)
	}
	s := tr.Stats()
	require.Zero(t, s.Pending)
	require.Zero(t, s.Early)
	require.Zero(t, s.Live)
	require.False(t, tr.Busy())
	require.Equal(t, s.Confirmed, s.Ended)
}

// settle lets handlers return after their answers have gone out.
func settle() { time.Sleep(time.Millisecond) }

func TestCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.AnswerAfter(3 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		list := tr.ByCallID(call.ID())
		require.Len(t, list, 1)
		require.Equal(t, dialog.Early, list[0].State)
		require.True(t, list[0].Answered.IsZero())
		call.Expect(200)
		call.Ack()
		in := bob.Incoming(t)
		in.ExpectAck()
		list = tr.ByCallID(call.ID())
		require.Len(t, list, 1)
		require.Equal(t, dialog.Confirmed, list[0].State)
		require.Equal(t, "START", b.kinds())
		require.Equal(t, dialog.Stats{Calls: 1, Confirmed: 1, Live: 1}, tr.Stats())
		found := 0
		for d := range tr.ByUser("bob@example.com") {
			require.Equal(t, list[0], d)
			found++
		}
		require.Equal(t, 1, found)

		time.Sleep(time.Minute)
		in.Bye()
		call.ExpectBye()
		settle()
		require.Equal(t, "START STOP", b.kinds())
		stop := b.events()[1]
		require.Equal(t, time.Minute, stop.Duration.Round(time.Second))
		require.Equal(t, 3*time.Second, stop.Setup.Round(time.Second))
		require.Equal(t, dialog.Callee, stop.By)
		require.Equal(t, 200, stop.Code)
		require.Equal(t, "BYE", stop.Reason)
		require.Equal(t, "sip:bob@example.com", stop.Dialed)
		require.Contains(t, stop.Source, aliceIP)
		require.Contains(t, stop.Target, bobIP)
		require.Equal(t, list[0].ID, stop.ID)
		empty(t, tr)
	})
}

func TestOutcomes(t *testing.T) {
	for _, x := range []struct {
		code int
		want string
	}{{480, "MISSED"}, {486, "MISSED"}, {600, "MISSED"}, {403, "REFUSED"}, {603, "REFUSED"}, {302, "REFUSED"}, {404, "FAILED"}, {500, "FAILED"}, {401, ""}, {407, ""}} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, nil, bobIP)
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			bob.OnCall(func(c *siptest.Call) {
				c.Ring()
				if c.Pause(2 * time.Second) {
					c.Refuse(x.code)
				}
			})
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			call.Expect(x.code)
			settle()
			require.Equal(t, x.want, b.kinds())
			empty(t, tr)
			if x.want == "" {
				return
			}
			e := b.events()[0]
			require.Equal(t, x.code, e.Code)
			require.Equal(t, 2*time.Second, e.Setup.Round(time.Second))
			require.False(t, e.Ringing.IsZero())
			require.True(t, e.Answered.IsZero())
			require.Equal(t, dialog.Callee, e.By)
		})
	}
}

func TestCancelled(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		bob.Incoming(t).ExpectCancel()
		call.Expect(487)
		settle()
		require.Equal(t, "CANCELLED", b.kinds())
		require.Equal(t, dialog.Caller, b.events()[0].By)
		empty(t, tr)
	})
}

// TestNoAnswer: silence is a missed call, of an address where nobody is as well.
func TestNoAnswer(t *testing.T) {
	siptest.Suite{Protos: udpOnly}.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		k.Network.Host(bobIP)
		k.Phone("alice", aliceIP).Invite(t, "sip:bob@example.com").Expect(408)
		settle()
		require.Equal(t, "MISSED", b.kinds())
		require.Equal(t, dialog.Proxy, b.events()[0].By)
		empty(t, tr)
	})
}

// TestEnd: both parties get a BYE that fits their dialog (the phones check Request-URI, tags, route and CSeq).
func TestEnd(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		for range 3 { // the sides count apart
			call.Info("text/plain", "x")
			in.ExpectRequest(sip.INFO)
		}
		in.Info("text/plain", "y")
		call.ExpectRequest(sip.INFO)
		d := tr.ByCallID(call.ID())[0]
		require.EqualValues(t, 1, d.CalleeSeq)
		require.NoError(t, tr.End(t.Context(), d.ID, `ended by "root"`))
		bye := call.ExpectBye()
		require.Equal(t, `SIP;text="ended by \"root\""`, bye.Get("Reason"))
		in.ExpectBye()
		require.True(t, call.Ended())
		require.True(t, in.Ended())
		require.Equal(t, "START STOP", b.kinds())
		require.Equal(t, dialog.Proxy, b.events()[1].By)
		require.Equal(t, `ended by "root"`, b.events()[1].Reason)
		require.ErrorIs(t, tr.End(t.Context(), d.ID, ""), dialog.ErrUnknown)
		empty(t, tr)
	})
}
