package sipproxy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// soft is a siptest.T for goroutines of a test: FailNow is for the test's own.
type soft struct{ *testing.T }

func (s soft) Fatalf(format string, args ...any) {
	s.Helper()
	if why := fmt.Sprintf(format, args...); !strings.Contains(why, "cannot cancel: already answered") { // bad luck, no failure
		s.Errorf("%s", why)
	}
	runtime.Goexit()
}

// dice are the decisions about a call, a function of its number, so that handler, callees and caller make them apart.
func dice(r *sip.Request, salt uint64) *rand.Rand {
	n, _ := strconv.ParseUint(r.Get("X-Plan"), 10, 64)
	return rand.New(rand.NewPCG(n, salt))
}

var callees = []string{"192.0.2.20", "192.0.2.21", "192.0.2.22", "192.0.2.23", "192.0.2.24", "192.0.2.25"}

// planned is a handler that routes by the dice.
func planned(k *siptest.Kit, lossy bool) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		d := dice(r.Request, 1)
		if d.IntN(3) == 0 {
			r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
				if d := dice(r.Request, uint64(res.Code)); d.IntN(2) == 0 {
					sipproxy.Block(ctx, func() { time.Sleep(time.Duration(d.IntN(3)) * time.Millisecond) })
				}
				res.Set("X-Hook", "1")
			})
		}
		if d.IntN(3) == 0 {
			r.OnBranch(func(b *sipproxy.Branch) {
				b.Request.Set("X-Own", strings.Repeat(r.CallID()+" ", 1+dice(r.Request, 3).IntN(30)))
			})
			r.OnSend(func(b *sipproxy.Branch) { b.Request.Add("X-Own", r.CallID()) })
		}
		if d.IntN(4) == 0 {
			sipproxy.Block(ctx, func() { time.Sleep(time.Duration(d.IntN(300)) * time.Millisecond) })
		}
		var res *sip.Response
		for range 1 + d.IntN(3) {
			var targets []sipproxy.Target
			for _, i := range d.Perm(len(callees))[:1+d.IntN(3)] {
				t := at(k, r, callees[i])
				t.Q = float32(d.IntN(2))
				if !lossy {
					t.Ring = time.Duration(1+d.IntN(60)) * time.Second // else the caller's connection may grow old
				}
				if d.IntN(4) == 0 && !lossy {
					t.Trying = time.Duration(1+d.IntN(4)) * time.Second
				}
				if d.IntN(4) == 0 {
					t.Else = ats(k, r, callees[d.IntN(len(callees))])
				}
				targets = append(targets, t)
			}
			step, cancel := ctx, context.CancelFunc(func() {})
			if d.IntN(4) == 0 && !lossy {
				step, cancel = context.WithTimeout(ctx, time.Duration(1+d.IntN(40))*time.Second)
			}
			if d.IntN(2) == 0 {
				res = r.ForwardInTurn(step, targets...)
			} else {
				res = r.Forward(step, targets...)
			}
			cancel()
			if res.Code < 300 || res.Code >= 600 || d.IntN(4) == 0 {
				return res
			}
		}
		if d.IntN(5) == 0 && res.Code != 487 {
			return r.Reply(480)
		}
		return res
	}
}

// plays is a callee that behaves by the dice.
func plays(leg int) func(*siptest.Call) {
	return func(c *siptest.Call) {
		d := dice(c.Invitation(), uint64(100+leg))
		// No two legs answer within a round trip of each other.
		after := time.Duration(d.IntN(400))*50*time.Millisecond + time.Duration(leg)*8*time.Millisecond
		switch d.IntN(6) {
		case 0: // silent
		case 1:
			c.Ring()
		case 2:
			c.Refuse([]int{302, 401, 404, 486, 500, 503, 603, 408, 407}[d.IntN(9)])
		case 3:
			c.Ring()
			if c.Pause(after) {
				c.Refuse([]int{480, 486, 603, 503}[d.IntN(4)])
			}
		default:
			c.Trying()
			for range d.IntN(3) {
				c.Respond([]int{180, 183, 181}[d.IntN(3)])
			}
			if c.Pause(after) {
				c.Answer()
			}
		}
	}
}

// call makes one call by the dice: with patience, or cancelled at some time.
func plannedCall(t *testing.T, p *siptest.Phone, plan uint64) {
	s := soft{t}
	call := p.Invite(s, "sip:bob@example.com", func(r *sip.Request) { r.Set("X-Plan", fmt.Sprint(plan)) })
	d := rand.New(rand.NewPCG(plan, 2))
	if d.IntN(3) == 0 {
		time.Sleep(time.Duration(d.IntN(25_000))*time.Millisecond + 600*time.Microsecond)
		canceled := make(chan struct{})
		go func() {
			defer close(canceled)
			if res := call.Transaction().StartCancel().Final(); !res.Is(200, 481) {
				t.Errorf("CANCEL got %s", res)
			}
		}()
		<-canceled
	}
	if call.Final().Code >= 300 {
		return
	}
	call.Ack()
	time.Sleep(time.Duration(d.IntN(5)) * time.Second)
	call.Bye()
}

// A watch looks at what leaves the proxy, and remembers what went before.
type watch struct {
	t     *testing.T
	proxy string
	mu    sync.Mutex
	rang  map[string]bool   // our branches that got a 1xx
	sent  map[string]string // INVITE by our branch
	ended map[string]string // final status line and To tag by the caller's branch and method
}

func (w *watch) packet(p siptest.Packet) {
	m, err := sip.Parse(p.Data)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	branch := m.Head().Branch()
	_, method, _ := m.Head().CSeq()
	res, isResponse := m.(*sip.Response)
	switch ours := p.From.Addr().String() == w.proxy; {
	case isResponse && !ours && res.Code < 200:
		w.rang[branch] = true
	case !isResponse && ours && method == sip.CANCEL && !w.rang[branch]:
		w.t.Errorf("a CANCEL without a 1xx (§9.1):\n%s", m)
	case !isResponse && ours && method == sip.INVITE:
		w.downstream(branch, m)
	case isResponse && ours:
		w.upstream(branch+" "+string(method), res)
	}
}

// downstream: what hooks wrote is in the request they wrote it into, and when that is sent again it is the same (§17.1.1.2).
func (w *watch) downstream(branch string, m sip.Message) {
	now := m.String()
	if before, again := w.sent[branch]; again && before != now {
		w.t.Errorf("sent again as\n%s\nwhat was\n%s", now, before)
	}
	w.sent[branch] = now
	for v := range m.Head().All("X-Own") {
		if strings.Trim(strings.ReplaceAll(v, m.Head().CallID(), ""), " ") != "" {
			w.t.Errorf("what a hook wrote into another request:\n%s", now)
		}
	}
}

// upstream: one final, nothing provisional behind it, but any 2xx to an INVITE.
func (w *watch) upstream(key string, res *sip.Response) {
	before, ended := w.ended[key]
	now := fmt.Sprint(res.Code, " ", res.ToTag())
	switch {
	case res.Code < 200 && ended:
		w.t.Errorf("a %d after the final %s:\n%s", res.Code, before, res)
	case res.Code < 200:
	case !ended:
		w.ended[key] = now
	case before != now && !(res.IsSuccess() && strings.HasSuffix(key, "INVITE")):
		w.t.Errorf("a second final, %s after %s:\n%s", now, before, res)
	}
}

// Random calls in all ways at once: whatever is decided by handlers, callees and callers, the rules hold, every call ends, nothing is left.
func TestRandomCalls(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		for _, lossy := range []bool{false, true} {
			suite := siptest.Suite{Seed: seed}
			if lossy {
				suite.Protos = []transport.Proto{transport.UDP}
			}
			suite.Run(t, func(t *testing.T, k *siptest.Kit) {
				w := &watch{t: t, proxy: "192.0.2.101", rang: map[string]bool{}, sent: map[string]string{}, ended: map[string]string{}}
				k.Network.Tap(w.packet)
				link := siptest.Link{Delay: time.Millisecond}
				if lossy {
					link = siptest.Link{Delay: time.Millisecond, Loss: 0.05, Duplicate: 0.1, Reorder: 0.1, Hold: 2 * time.Millisecond}
				}
				k.Network.SetLink("", "", link)
				s := k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.Then(planned(k, lossy))})
				for i, ip := range callees {
					p := k.Phone(fmt.Sprint("callee", i), ip)
					p.Lenient = lossy // a CANCEL may come too late: then two answer, and the caller leaves one without ACK
					p.OnCall(plays(i))
				}
				var all sync.WaitGroup
				for i := range 10 {
					p := k.Phone(fmt.Sprint("caller", i), fmt.Sprint("192.0.2.", 30+i))
					p.Lenient = lossy
					p.Wait = time.Hour // Timer C many times over
					all.Go(func() {
						for n := range 4 {
							plannedCall(t, p, seed*1000+uint64(i*10+n))
						}
					})
				}
				all.Wait()
				require.Zero(t, s.Stats().Panics)
				require.Zero(t, s.Stats().BadReturns)
				require.Zero(t, s.Stats().StrayResponses)
			})
		}
	}
}

// REQUIREMENTS and DESIGN section 5: very many calls at once, in virtual time.
func TestTenThousandCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand calls: not in short mode")
	}
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		const calls = 10_000
		s := serve(t, k, forks(k, "192.0.2.20"))
		caller, callee := socket(t, k, "192.0.2.10"), socket(t, k, "192.0.2.20")
		finals := 0
		text := raw(k, "INVITE", "sip:bob@example.com", "Call-ID", "@", "Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK@")
		for i := range calls {
			caller.send(strings.ReplaceAll(text, "@", fmt.Sprint("n", i, "n")))
			req := request(t, callee.read()) // one at a time: a socket's buffer has its bounds
			callee.send(sip.NewResponse(req, 180, "", "b").String())
			caller.expect(100)
			caller.expect(180)
			callee.later = append(callee.later, req)
		}
		require.Equal(t, calls, s.Stats().InProgress)
		for _, req := range callee.later {
			callee.send(sip.NewResponse(req, 200, "", "b").String())
			caller.expect(200)
			finals++
		}
		require.Equal(t, calls, finals)
		k.Sleep(time.Minute)
		require.Zero(t, s.Stats().InProgress)
		require.Zero(t, s.Stats().Transactions.Servers+s.Stats().Transactions.Clients)
	})
}
