package transaction

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// A strictUser complains about calls that the contract of ClientUser rules out.
type strictUser struct {
	t      *testing.T
	invite bool
	mu     sync.Mutex
	final  int
	ended  int
}

func (u *strictUser) Response(_ *Client, res *sip.Response, _ transport.Flow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if res.Code < 200 {
		return
	}
	again := u.invite && u.final/100 == 2 && res.Code/100 == 2
	if u.ended > 0 || u.final != 0 && !again {
		u.t.Errorf("%d after %d, ended %d", res.Code, u.final, u.ended)
	}
	u.final = res.Code
}

func (u *strictUser) Ended(_ *Client, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended++; u.ended > 1 || u.final != 0 {
		u.t.Errorf("ended %d times, final %d: %v", u.ended, u.final, err)
	}
}

// crossing runs each f on a goroutine of its own, at an instant where timers fire too.
func crossing(wg *sync.WaitGroup, r *rand.Rand, fs ...func()) {
	for _, f := range fs {
		d := []time.Duration{0, 0, 500 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond, 32 * time.Second}[r.IntN(6)]
		wg.Go(func() {
			if d > 0 {
				time.Sleep(d)
			}
			f()
		})
	}
}

// TestClientsCrossing has finals, CANCEL, timers and transport errors meet at the same client transactions.
func TestClientsCrossing(t *testing.T) {
	for _, stream := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := &fakeNetwork{stream: stream, quiet: true}
			l := newLayer(Config{}, n)
			r := rand.New(rand.NewPCG(1, 2))
			var wg sync.WaitGroup
			users := make([]*strictUser, 300)
			for i := range users {
				method := []string{"INVITE", "OPTIONS"}[i%2]
				u := &strictUser{t: t, invite: method == "INVITE"}
				users[i] = u
				req := request(t, method, NewBranch())
				r180, r200, r486 := reply(req, 180), reply(req, 200), reply(req, 486)
				c, err := l.Request(req, transport.Flow{}, u)
				require.NoError(t, err)
				answer := func(res *sip.Response) func() {
					return func() { l.MatchResponse(res, transport.Flow{}) }
				}
				crossing(&wg, r, answer(r180), answer(r180), func() { c.Cancel("") }, func() { c.Cancel("x") }, func() { _ = c.Request() })
				if i%3 != 0 {
					crossing(&wg, r, answer(r200), answer(r486), answer(r200), answer(r486))
				}
				if i%5 == 0 {
					crossing(&wg, r, func() { (*clientSink)(c).SendFailed(errors.New("reset")) }, c.Abandon)
				}
			}
			wg.Wait()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			open := 0
			for _, u := range users {
				u.mu.Lock()
				if u.final == 0 && u.ended == 0 {
					open++
				}
				u.mu.Unlock()
			}
			// What rings and was neither cancelled nor answered, or was abandoned, has no end.
			require.Less(t, open, 80)
			l.Close()
			require.Zero(t, l.Stats().Clients)
		})
	}
}

// TestServersCrossing has copies, CANCEL, ACK, responses and timers meet at the same server transactions.
func TestServersCrossing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNetwork{quiet: true}
		l := newLayer(Config{}, n)
		r := rand.New(rand.NewPCG(3, 4))
		var wg sync.WaitGroup
		const many = 300
		won := make([]atomic.Int32, many)
		for i := range many {
			branch := NewBranch()
			method := []string{"INVITE", "BYE"}[i%2]
			req := request(t, method, branch)
			ack, cancel := request(t, "ACK", branch), request(t, "CANCEL", branch)
			dialogAck := request(t, "ACK", NewBranch())
			dialogAck.SetToTag("99sa0xk")
			r180, r200, r486 := reply(req, 180), reply(req, 200), reply(req, 486)
			seed := r.Uint64()
			receive := func() {
				if _, absorbed := l.MatchRequest(req, transport.Flow{}); absorbed {
					return
				}
				s, err := l.NewServer(req, transport.Flow{}, nobody{})
				if errors.Is(err, ErrExists) {
					return
				}
				won[i].Add(1)
				r := rand.New(rand.NewPCG(seed, 5))
				var finals atomic.Int32
				final := func(res *sip.Response) func() {
					return func() {
						if s.Respond(res) == nil {
							finals.Add(1)
						}
					}
				}
				crossing(&wg, r, func() { _ = s.Respond(r180) }, func() { _ = s.Respond(r180) },
					func() { _ = s.Request() }, func() { _ = s.Final() }, func() { (*serverSink)(s).SendFailed(errors.New("reset")) })
				if i%4 == 0 {
					crossing(&wg, r, func() { _ = s.RespondReliably(r200) })
					crossing(&wg, r, func() { l.MatchRequest(dialogAck, transport.Flow{}) })
					return
				}
				crossing(&wg, r, final(r486), final(r486))
			}
			wg.Go(receive)
			wg.Go(receive)
			crossing(&wg, r, receive, receive)
			crossing(&wg, r, func() { l.MatchRequest(cancel, transport.Flow{}) }, func() { l.MatchRequest(ack, transport.Flow{}) })
		}
		wg.Wait()
		for i := range won {
			// A copy that comes after the end, 32 s later, is a new request.
			require.Positive(t, won[i].Load())
			require.LessOrEqual(t, won[i].Load(), int32(2))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		st := l.Stats()
		require.Zero(t, st.Servers)
		require.Zero(t, l.wheel.n)
		require.Zero(t, l.waiting.n.Load())
		l.Close()
	})
}

// TestOneWins lets many readers bring the same request at once.
func TestOneWins(t *testing.T) {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	for range 200 {
		req := request(t, "INVITE", NewBranch())
		var won, absorbed atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, copied := l.MatchRequest(req, transport.Flow{}); copied {
					absorbed.Add(1)
					return
				}
				_, err := l.NewServer(req, transport.Flow{}, nil)
				if err == nil {
					won.Add(1)
				} else if errors.Is(err, ErrExists) {
					absorbed.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		require.EqualValues(t, 3, absorbed.Load())
	}
	require.Equal(t, 200, l.Stats().Servers)
	require.EqualValues(t, 600, l.Stats().Absorbed)
}

// TestCallsBack has a user that calls the package from inside its calls.
func TestCallsBack(t *testing.T) {
	n := &fakeNetwork{}
	within(t, n, func(t *testing.T, l *Layer) {
		u := &callingUser{l: l, req: request(t, "INVITE", "z9hG4bKsecond")}
		req := request(t, "INVITE", "z9hG4bKfirst")
		_, err := l.Request(req, transport.Flow{}, u)
		require.NoError(t, err)
		l.MatchResponse(reply(req, 180), transport.Flow{})
		require.Equal(t, []string{inviteLine, cancelLine}, first(n.take()))
		l.MatchResponse(reply(req, 503), transport.Flow{})
		require.Equal(t, []string{ackLine, inviteLine}, first(n.take()))
		pass(40 * time.Second)
		require.Equal(t, 1, u.ended)
	})
}

// A callingUser cancels on 1xx and tries elsewhere on a final.
type callingUser struct {
	l     *Layer
	req   *sip.Request
	ended int
}

func (u *callingUser) Response(c *Client, res *sip.Response, f transport.Flow) {
	if res.IsProvisional() {
		c.Cancel("")
		return
	}
	_, _ = u.l.Request(u.req, f, u)
	c.Abandon()
}

func (u *callingUser) Ended(c *Client, _ error) {
	u.ended++
	u.l.MatchResponse(reply(u.req, 200), c.Flow())
}
