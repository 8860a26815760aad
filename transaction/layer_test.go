package transaction

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// A user records what it is told.
type user struct {
	mu    sync.Mutex
	codes []int
	errs  []error
}

func (u *user) Response(_ *Client, res *sip.Response, _ transport.Flow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.codes = append(u.codes, res.Code)
}
func (u *user) Ended(_ *Client, err error)  { u.fail(err) }
func (u *user) Unsent(_ *Server, err error) { u.fail(err) }
func (u *user) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.errs = append(u.errs, err)
}

// responses are the codes it got.
func (u *user) responses() []int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.codes)
}

// failures are the errors it was told.
func (u *user) failures() []error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.errs)
}

func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

// request is a request with this branch.
func request(t testing.TB, method, branch string) *sip.Request {
	t.Helper()
	r, err := sip.ParseRequest(lines(
		method+" sip:bob@biloxi.example SIP/2.0",
		"Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch="+branch,
		"Route: <sip:p1.example;lr>, <sip:p2.example;lr>",
		"Route: <sip:p3.example;lr>",
		"Max-Forwards: 69",
		"From: Alice <sip:alice@atlanta.example>;tag=88sja8x",
		"To: Bob <sip:bob@biloxi.example>",
		"Call-ID: 987asjd97y7atg",
		"CSeq: 986759 "+method,
		"Require: 100rel",
		"Content-Length: 0",
		"",
	))
	require.NoError(t, err)
	return r
}

func reply(r *sip.Request, code int) *sip.Response { return sip.NewResponse(r, code, "", "99sa0xk") }

// first lists the start lines of messages.
func first(msgs []string) []string {
	var l []string
	for _, m := range msgs {
		line, _, _ := strings.Cut(m, "\r\n")
		l = append(l, line)
	}
	return l
}

const (
	inviteLine = "INVITE sip:bob@biloxi.example SIP/2.0"
	ackLine    = "ACK sip:bob@biloxi.example SIP/2.0"
	cancelLine = "CANCEL sip:bob@biloxi.example SIP/2.0"
	byeLine    = "BYE sip:bob@biloxi.example SIP/2.0"
)

// within runs f with a layer in a bubble of virtual time; n is UDP.
func within(t *testing.T, n *fakeNetwork, f func(t *testing.T, l *Layer)) {
	synctest.Test(t, func(t *testing.T) {
		l := newLayer(Config{}, n)
		f(t, l)
		l.Close()
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestClientInviteRefused(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKc1")
		c, err := l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		require.Same(t, req, c.Request())
		pass(time.Second)
		require.Equal(t, []string{inviteLine, inviteLine}, first(n.take()))

		res := reply(req, 486)
		require.True(t, l.MatchResponse(res, transport.Flow{}))
		want := lines(
			ackLine,
			"Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch=z9hG4bKc1",
			"Route: <sip:p1.example;lr>, <sip:p2.example;lr>",
			"Route: <sip:p3.example;lr>",
			"Max-Forwards: 70",
			"From: Alice <sip:alice@atlanta.example>;tag=88sja8x",
			"To: Bob <sip:bob@biloxi.example>;tag=99sa0xk",
			"Call-ID: 987asjd97y7atg",
			"CSeq: 986759 ACK",
			"Content-Length: 0",
			"",
		)
		require.Equal(t, []string{want}, n.take())
		require.Nil(t, c.Request())
		require.True(t, l.MatchResponse(res, transport.Flow{}), "a copy")
		require.Equal(t, []string{want}, n.take())
		require.Equal(t, []int{486}, u.responses())

		pass(33 * time.Second)
		require.False(t, l.MatchResponse(res, transport.Flow{}), "timer D has fired")
		require.Empty(t, u.failures())
		require.Equal(t, Stats{ClientsTotal: 1, Retransmitted: 1, Absorbed: 1, Stray: 1}, l.Stats())
	})
}

func TestClientTimeout(t *testing.T) {
	for _, method := range []string{"INVITE", "BYE"} {
		n := &fakeNetwork{}
		within(t, n, func(t *testing.T, l *Layer) {
			u := &user{}
			_, err := l.Request(request(t, method, "z9hG4bKc1"), transport.Flow{}, u)
			require.NoError(t, err)
			pass(31990 * time.Millisecond)
			require.Empty(t, u.failures())
			pass(40 * time.Millisecond)
			require.Equal(t, []error{ErrTimeout}, u.failures())
			sent := map[string]int{"INVITE": 7, "BYE": 11}[method]
			require.Len(t, n.take(), sent)
			require.Zero(t, l.Stats().Clients)
		})
	}
}

func TestClientManySuccesses(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKc1")
		_, err := l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		for _, code := range []int{100, 180, 200, 200, 180, 486, 200} {
			require.True(t, l.MatchResponse(reply(req, code), transport.Flow{}))
		}
		require.Equal(t, []int{100, 180, 200, 200, 200}, u.responses())
		pass(33 * time.Second)
		require.False(t, l.MatchResponse(reply(req, 200), transport.Flow{}), "timer M has fired")
		require.Equal(t, []string{inviteLine}, first(n.take()))
	})
}

func TestCancelWaitsForProvisional(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKc1")
		c, err := l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		c.Cancel("SIP;cause=200;text=\"Call completed elsewhere\"")
		c.Cancel("")
		require.Equal(t, []string{inviteLine}, first(n.take()))
		require.True(t, l.MatchResponse(reply(req, 180), transport.Flow{}))
		require.Equal(t, []string{lines(
			cancelLine,
			"Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch=z9hG4bKc1",
			"Route: <sip:p1.example;lr>, <sip:p2.example;lr>",
			"Route: <sip:p3.example;lr>",
			"Max-Forwards: 70",
			"From: Alice <sip:alice@atlanta.example>;tag=88sja8x",
			"To: Bob <sip:bob@biloxi.example>",
			"Call-ID: 987asjd97y7atg",
			"CSeq: 986759 CANCEL",
			"Reason: SIP;cause=200;text=\"Call completed elsewhere\"",
			"Content-Length: 0",
			"",
		)}, n.take())
		require.Equal(t, 2, l.Stats().Clients)
		require.True(t, l.MatchResponse(reply(request(t, "CANCEL", "z9hG4bKc1"), 200), transport.Flow{}))
		require.Equal(t, []int{180}, u.responses())
		pass(31 * time.Second)
		require.Empty(t, u.failures())
		pass(2 * time.Second)
		require.Equal(t, []error{ErrTimeout}, u.failures())
		require.Zero(t, l.Stats().Clients)
	})
}

func TestCancelAfterFinal(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		for _, code := range []int{200, 486} {
			u := &user{}
			req := request(t, "INVITE", NewBranch())
			c, err := l.Request(req, transport.Flow{}, u)
			require.NoError(t, err)
			l.MatchResponse(reply(req, 180), transport.Flow{})
			l.MatchResponse(reply(req, code), transport.Flow{})
			n.take()
			c.Cancel("")
			require.Empty(t, n.take())
		}
		c, err := l.Request(request(t, "BYE", "z9hG4bKbye"), transport.Flow{}, nil)
		require.NoError(t, err)
		l.MatchResponse(reply(c.Request(), 100), transport.Flow{})
		n.take()
		c.Cancel("")
		require.Empty(t, n.take(), "a CANCEL is for INVITE only")
	})
}

func TestAbandon(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKc1")
		c, err := l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		c.Abandon()
		require.True(t, l.MatchResponse(reply(req, 486), transport.Flow{}))
		require.Equal(t, []string{inviteLine, ackLine}, first(n.take()))
		require.Empty(t, u.responses())
	})
}

// TestAbandonNonInvite: nobody wants the answer, so nothing is sent again and nothing stays.
func TestAbandonNonInvite(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		c, err := l.Request(request(t, "OPTIONS", "z9hG4bKc1"), transport.Flow{}, &user{})
		require.NoError(t, err)
		c.Abandon()
		c.Abandon()
		require.Zero(t, l.Stats().Clients)
		require.Len(t, n.take(), 1)
		pass(10 * time.Second)
		require.Empty(t, n.take())
	})
}

func TestSendFailure(t *testing.T) {
	cause := errors.New("no route")
	for _, stream := range []bool{false, true} {
		n := &fakeNetwork{stream: stream, err: cause}
		within(t, n, func(t *testing.T, l *Layer) {
			u := &user{}
			_, err := l.Request(request(t, "INVITE", "z9hG4bKc1"), transport.Flow{}, u)
			require.ErrorIs(t, err, ErrTransport)
			require.ErrorIs(t, err, cause)
			require.Empty(t, u.failures())
			require.Zero(t, l.Stats().Clients)

			// Later: at a retransmission.
			n.fail(nil)
			_, err = l.Request(request(t, "INVITE", "z9hG4bKc1"), transport.Flow{}, u)
			require.NoError(t, err)
			n.fail(cause)
			pass(600 * time.Millisecond)
			if stream {
				require.Empty(t, u.failures())
				return
			}
			require.Len(t, u.failures(), 1)
			require.ErrorIs(t, u.failures()[0], cause)
			require.Zero(t, l.Stats().Clients)
		})
	}
}

func TestBrokenConnection(t *testing.T) {
	n := &fakeNetwork{stream: true}
	cause := errors.New("reset")
	within(t, n, func(t *testing.T, l *Layer) {
		for _, tc := range []struct {
			method      string
			provisional bool
			ended       bool
		}{{"INVITE", false, true}, {"INVITE", true, false}, {"BYE", false, true}, {"BYE", true, true}} {
			u := &user{}
			req := request(t, tc.method, NewBranch())
			c, err := l.Request(req, transport.Flow{}, u)
			require.NoError(t, err)
			require.Len(t, n.sinks, 1)
			if tc.provisional {
				l.MatchResponse(reply(req, 100), transport.Flow{})
			}
			for s := range n.sinks {
				s.SendFailed(cause)
			}
			if tc.ended {
				require.Len(t, u.failures(), 1)
				require.ErrorIs(t, u.failures()[0], ErrTransport)
				require.ErrorIs(t, u.failures()[0], cause)
			} else {
				require.Empty(t, u.failures())
				require.True(t, l.MatchResponse(reply(req, 200), transport.Flow{}), "over another connection")
			}
			require.Empty(t, n.sinks, "forgotten")
			require.Nil(t, c.Request())
		}
	})
}

func TestUnreachable(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		_, err := l.Request(request(t, "OPTIONS", "z9hG4bKu1"), transport.Flow{}, u)
		require.NoError(t, err)
		sent := n.take()[0]
		l.Unreachable([]byte(sent[:70]), transport.Addr{}, transport.ErrUnreachable)
		require.Empty(t, u.failures(), "cut within the branch")
		l.Unreachable([]byte(sent[:130]), transport.Addr{}, transport.ErrUnreachable)
		require.Len(t, u.failures(), 1)
		require.ErrorIs(t, u.failures()[0], transport.ErrUnreachable)
		require.ErrorIs(t, u.failures()[0], ErrTransport)

		// An ACK that cannot be delivered ends the transaction, of which the user has the final.
		u = &user{}
		req := request(t, "INVITE", "z9hG4bKu2")
		_, err = l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		l.MatchResponse(reply(req, 486), transport.Flow{})
		require.Equal(t, 1, l.Stats().Clients)
		l.Unreachable([]byte(n.take()[1]), transport.Addr{}, transport.ErrUnreachable)
		require.Zero(t, l.Stats().Clients)
		require.Empty(t, u.failures())
	})
}

func TestServerInvite(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKs1")
		tx, absorbed := l.MatchRequest(req, transport.Flow{})
		require.Nil(t, tx)
		require.False(t, absorbed)
		s, err := l.NewServer(req, transport.Flow{}, u)
		require.NoError(t, err)
		_, err = l.NewServer(req, transport.Flow{}, u)
		require.ErrorIs(t, err, ErrExists)
		require.Empty(t, n.take(), "no response yet to answer a copy with")

		require.NoError(t, s.Respond(reply(req, 100)))
		require.NoError(t, s.Respond(reply(req, 180)))
		n.take()
		_, absorbed = l.MatchRequest(req, transport.Flow{})
		require.True(t, absorbed)
		require.Equal(t, []string{"SIP/2.0 180 Ringing"}, first(n.take()))
		require.Zero(t, s.Final())

		require.NoError(t, s.Respond(reply(req, 486)))
		require.Equal(t, 486, s.Final())
		require.Nil(t, s.Request())
		require.ErrorIs(t, s.Respond(reply(req, 487)), ErrTerminated)
		require.ErrorIs(t, s.Respond(reply(req, 200)), ErrTerminated)
		require.ErrorIs(t, s.Respond(reply(req, 180)), ErrTerminated)
		pass(1600 * time.Millisecond)
		sent := n.take()
		require.Len(t, sent, 3)
		require.Equal(t, reply(req, 486).String(), sent[2])

		ack := request(t, "ACK", "z9hG4bKs1")
		_, absorbed = l.MatchRequest(ack, transport.Flow{})
		require.True(t, absorbed)
		require.Nil(t, s.User(), "released")
		pass(4 * time.Second)
		require.Empty(t, n.take())
		_, absorbed = l.MatchRequest(ack, transport.Flow{})
		require.True(t, absorbed, "timer I still runs")
		pass(2 * time.Second)
		_, absorbed = l.MatchRequest(ack, transport.Flow{})
		require.False(t, absorbed)
		require.Empty(t, u.failures())
		require.Zero(t, l.Stats().Servers)
	})
}

func TestServerInviteNoAck(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		req := request(t, "INVITE", "z9hG4bKs1")
		s, err := l.NewServer(req, transport.Flow{}, u)
		require.NoError(t, err)
		require.NoError(t, s.Respond(reply(req, 404)))
		pass(33 * time.Second)
		require.Len(t, n.take(), 11)
		require.Equal(t, []error{ErrTimeout}, u.failures())
		require.Zero(t, l.Stats().Servers)
		require.EqualValues(t, 1, l.Stats().Timeouts)
	})
}

func TestServerAccepted(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		req := request(t, "INVITE", "z9hG4bKs1")
		s, err := l.NewServer(req, transport.Flow{}, nil)
		require.NoError(t, err)
		require.NoError(t, s.Respond(reply(req, 200)))
		require.NoError(t, s.Respond(reply(req, 202)))
		require.Equal(t, 200, s.Final())
		require.ErrorIs(t, s.Respond(reply(req, 486)), ErrTerminated)
		require.Len(t, n.take(), 2)
		_, absorbed := l.MatchRequest(req, transport.Flow{})
		require.True(t, absorbed)
		require.Empty(t, n.take(), "RFC 6026: a copy is absorbed in silence")
		tx, absorbed := l.MatchRequest(request(t, "ACK", "z9hG4bKs1"), transport.Flow{})
		require.Same(t, s, tx)
		require.False(t, absorbed, "the ACK goes to the TU")
		pass(33 * time.Second)
		require.ErrorIs(t, s.Respond(reply(req, 200)), ErrTerminated)
		require.Zero(t, l.Stats().Servers)
	})
}

func TestServerNonInvite(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		req := request(t, "BYE", "z9hG4bKs1")
		s, err := l.NewServer(req, transport.Flow{}, nil)
		require.NoError(t, err)
		_, absorbed := l.MatchRequest(req, transport.Flow{})
		require.True(t, absorbed)
		require.Empty(t, n.take())
		require.NoError(t, s.Respond(reply(req, 200)))
		require.ErrorIs(t, s.Respond(reply(req, 200)), ErrTerminated)
		n.take()
		pass(31 * time.Second)
		_, absorbed = l.MatchRequest(req, transport.Flow{})
		require.True(t, absorbed)
		require.Equal(t, []string{reply(req, 200).String()}, n.take())
		pass(2 * time.Second)
		_, absorbed = l.MatchRequest(req, transport.Flow{})
		require.False(t, absorbed, "timer J has fired")
	})
}

func TestServerReliable(t *testing.T) {
	n := &fakeNetwork{stream: true}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &user{}
		bye := request(t, "BYE", "z9hG4bKs1")
		s, err := l.NewServer(bye, transport.Flow{}, u)
		require.NoError(t, err)
		require.NoError(t, s.Respond(reply(bye, 200)))
		require.Zero(t, l.Stats().Servers, "timer J is zero")
		require.Equal(t, []string{reply(bye, 200).String()}, n.take())

		inv := request(t, "INVITE", "z9hG4bKs2")
		s, err = l.NewServer(inv, transport.Flow{}, u)
		require.NoError(t, err)
		require.NoError(t, s.Respond(reply(inv, 486)))
		require.Len(t, n.sinks, 1)
		pass(20 * time.Second)
		require.Len(t, n.take(), 1, "no timer G")
		for sink := range n.sinks {
			sink.SendFailed(errors.New("reset"))
		}
		require.Len(t, u.failures(), 1)
		require.Equal(t, 1, l.Stats().Servers, "RFC 6026: stays")
		_, absorbed := l.MatchRequest(request(t, "ACK", "z9hG4bKs2"), transport.Flow{})
		require.True(t, absorbed)
		require.Zero(t, l.Stats().Servers, "timer I is zero")
		require.Empty(t, n.sinks)
	})
}

func TestCancelMatches(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		inv := request(t, "INVITE", "z9hG4bKs1")
		s, err := l.NewServer(inv, transport.Flow{}, nil)
		require.NoError(t, err)
		cancel := request(t, "CANCEL", "z9hG4bKs1")
		cancel.SetToTag("some") // of a 1xx, as some phones do
		tx, absorbed := l.MatchRequest(cancel, transport.Flow{})
		require.Same(t, s, tx)
		require.False(t, absorbed)
		c, err := l.NewServer(cancel, transport.Flow{}, nil)
		require.NoError(t, err)
		require.NoError(t, c.Respond(reply(cancel, 200)))
		n.take()
		_, absorbed = l.MatchRequest(cancel, transport.Flow{})
		require.True(t, absorbed)
		require.Len(t, n.take(), 1)
		tx, absorbed = l.MatchRequest(request(t, "CANCEL", "z9hG4bKother"), transport.Flow{})
		require.Nil(t, tx)
		require.False(t, absorbed)
	})
}

func TestRespondReliably(t *testing.T) {
	for _, stream := range []bool{false, true} {
		n := &fakeNetwork{stream: stream}
		within(t, n, func(t *testing.T, l *Layer) {
			u := &user{}
			inv := request(t, "INVITE", "z9hG4bKs1")
			s, err := l.NewServer(inv, transport.Flow{}, u)
			require.NoError(t, err)
			require.NoError(t, s.RespondReliably(reply(inv, 200)))
			pass(1600 * time.Millisecond)
			require.Len(t, n.take(), 3)
			ack := request(t, "ACK", "z9hG4bKitsown")
			tx, absorbed := l.MatchRequest(ack, transport.Flow{})
			require.Nil(t, tx, "no To tag")
			require.False(t, absorbed)
			ack.SetToTag("99sa0xk")
			tx, absorbed = l.MatchRequest(ack, transport.Flow{})
			require.Same(t, s, tx)
			require.False(t, absorbed)
			pass(40 * time.Second)
			require.Empty(t, n.take())
			require.Empty(t, u.failures())

			inv = request(t, "INVITE", "z9hG4bKs2")
			s, err = l.NewServer(inv, transport.Flow{}, u)
			require.NoError(t, err)
			require.NoError(t, s.RespondReliably(reply(inv, 200)))
			pass(33 * time.Second)
			require.Len(t, n.take(), 11)
			require.Equal(t, []error{ErrTimeout}, u.failures())
		})
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLayer(Config{Servers: 1, Clients: 1}, &fakeNetwork{})
		c, err := l.Request(request(t, "INVITE", "z9hG4bKc1"), transport.Flow{}, nil)
		require.NoError(t, err)
		_, err = l.Request(request(t, "INVITE", "z9hG4bKc2"), transport.Flow{}, nil)
		require.ErrorIs(t, err, ErrLimit)
		l.MatchResponse(reply(c.Request(), 100), transport.Flow{})
		c.Cancel("")
		require.Equal(t, 2, l.Stats().Clients, "CANCEL passes the limit")
		_, err = l.NewServer(request(t, "INVITE", "z9hG4bKs1"), transport.Flow{}, nil)
		require.NoError(t, err)
		_, err = l.NewServer(request(t, "INVITE", "z9hG4bKs2"), transport.Flow{}, nil)
		require.ErrorIs(t, err, ErrLimit)
		require.EqualValues(t, 2, l.Stats().Refused)
		l.Close()
		_, err = l.Request(request(t, "INVITE", "z9hG4bKc3"), transport.Flow{}, nil)
		require.ErrorIs(t, err, ErrTerminated)
		_, err = l.NewServer(request(t, "INVITE", "z9hG4bKs3"), transport.Flow{}, nil)
		require.ErrorIs(t, err, ErrTerminated)
		require.Zero(t, l.Stats().Servers)
	})
}

func TestSilence(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		for _, method := range []string{"INVITE", "BYE"} {
			req := request(t, method, "z9hG4bKs1")
			s, err := l.NewServer(req, transport.Flow{}, nil)
			require.NoError(t, err)
			s.Silence()
			require.Nil(t, s.Request())
			pass(30 * time.Second)
			_, absorbed := l.MatchRequest(req, transport.Flow{})
			require.True(t, absorbed)
			require.ErrorIs(t, s.Respond(reply(req, 486)), ErrTerminated)
			pass(3 * time.Second)
			_, absorbed = l.MatchRequest(req, transport.Flow{})
			require.False(t, absorbed)
			require.Empty(t, n.take())
		}
	})
}
