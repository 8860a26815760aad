package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// away is a Memory that answers late, never, or with an error.
type away struct {
	registrar.Memory
	delay atomic.Int64 // < 0: until ctx ends
	err   error
	twice bool // Update calls its function twice, as a store does that compares and sets
}

func (s *away) Waits() bool { return true }

func (s *away) wait(ctx context.Context) error {
	d := time.Duration(s.delay.Load())
	if d < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *away) Update(ctx context.Context, aor registrar.AOR, f func([]registrar.Binding) ([]registrar.Binding, error)) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	if s.twice {
		_, _ = f([]registrar.Binding{{Contact: sip.MustParseURI("sip:other@192.0.2.9"), Expires: time.Now().Add(time.Hour)}})
	}
	return s.Memory.Update(ctx, aor, f)
}

func (s *away) Lookup(ctx context.Context, aor registrar.AOR) ([]registrar.Binding, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Memory.Lookup(ctx, aor)
}

func (s *away) Scan(ctx context.Context) iter.Seq2[registrar.AOR, []registrar.Binding] {
	return s.Memory.Scan(ctx)
}

func TestStoreAway(t *testing.T) {
	for name, x := range map[string]struct {
		err   error
		delay time.Duration
		code  int
		after time.Duration
	}{
		"unavailable": {err: registrar.ErrUnavailable, code: 503},
		"wrapped":     {err: fmt.Errorf("dial: %w", registrar.ErrUnavailable), code: 503},
		"full":        {err: registrar.ErrFull, code: 503},
		"closed":      {err: registrar.ErrClosed, code: 503},
		"too-large":   {err: registrar.ErrTooLarge, code: 413},
		"broken":      {err: errors.New("odd"), code: 500},
		"never":       {delay: -1, code: 503, after: 3 * time.Second},
		"slow":        {delay: time.Hour, code: 503, after: 3 * time.Second},
		"late":        {delay: 2 * time.Second, code: 200, after: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				store := &away{err: x.err}
				store.delay.Store(int64(x.delay))
				defer store.Close()
				g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Timeout: 3 * time.Second, RetryAfter: 1500 * time.Millisecond}
				home(k, t, g)
				p, alice := k.Phone("bob", "192.0.2.20"), k.Phone("alice", "192.0.2.10")
				for _, f := range []func() *sip.Response{
					func() *sip.Response { return send(t, p, "bob", a).Final() },
					func() *sip.Response { return send(t, p, "bob", "").Final() },
					func() *sip.Response { return alice.Request(t, sip.MESSAGE, "sip:ann@example.com").Final() },
				} {
					start := time.Now()
					res := f()
					if x.code == 200 {
						require.True(t, res.Is(200, 404), "%s", res)
						require.Equal(t, x.after, time.Since(start))
						continue
					}
					require.Equal(t, x.code, res.Code, "%s", res)
					require.Equal(t, x.after, time.Since(start))
					if x.code == 503 {
						require.Equal(t, "2", res.Get("Retry-After"))
					}
				}
				if x.code == 503 {
					require.EqualValues(t, 2, g.Stats().Unavailable)
				}
			})
		})
	}
}

// TestReaderIsNotHeldUp: while the store hangs for one user's REGISTER, other requests from the same reader are answered.
func TestReaderIsNotHeldUp(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(away)
		store.delay.Store(-1)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.REGISTER {
				return g.ServeSIP(ctx, r)
			}
			return r.Reply(200)
		})})
		p := k.Phone("bob", "192.0.2.20")
		start := time.Now()
		var hung []*siptest.Transaction
		for i := range 5 {
			hung = append(hung, send(t, p, fmt.Sprint("u", i), a))
		}
		p.Request(t, sip.OPTIONS, "sip:example.com").Expect(200)
		require.Zero(t, time.Since(start))
		for _, tr := range hung {
			tr.Expect(503)
			tr.Nothing(time.Minute)
		}
	})
}

// TestUpdateMayRunTwice: what the first run made does not show in the second.
func TestUpdateMayRunTwice(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := &away{twice: true}
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		play(t, k.Phone("bob", "192.0.2.20"), store, "bob", []step{
			{a + "\n" + b, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600"},
			{a + ";expires=0", 200, "sip:u@192.0.2.2=3600"},
			{"Contact: *\nExpires: 0", 200, ""},
		})
	})
}

// TestEvents: what a REGISTER changes is told, and what expires.
func TestEvents(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		var mu sync.Mutex
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			_ = store.Watch(ctx, func(e registrar.Event) {
				mu.Lock()
				got = append(got, fmt.Sprint(e.Kind, " ", e.AOR, " ", e.Binding.Contact.Host))
				mu.Unlock()
			})
		})
		p := k.Phone("bob", "192.0.2.20")
		synctest.Wait() // the watcher is in place
		for _, fields := range []string{a + ";expires=100", a + ";expires=101", b, b + ";expires=1", b + ";expires=0", c + ";expires=60", "Contact: *\nExpires: 0", a + ";expires=60"} {
			send(t, p, "bob", fields).Final()
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		cancel()
		watching.Wait()
		require.Equal(t, strings.TrimSpace(`
1 bob@example.com 192.0.2.1
2 bob@example.com 192.0.2.1
1 bob@example.com 192.0.2.2
3 bob@example.com 192.0.2.2
1 bob@example.com 192.0.2.3
3 bob@example.com 192.0.2.1
3 bob@example.com 192.0.2.3
1 bob@example.com 192.0.2.1
4 bob@example.com 192.0.2.1`), strings.Join(got, "\n"))
	})
}

func TestFlagsAndReceived(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		s := home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"},
			Received: func(*sipproxy.Request) bool { return true }, Flags: func(*sipproxy.Request) uint32 { return 1<<31 | 5 }})
		p := k.Phone("bob", "192.0.2.20")
		res := send(t, p, "bob", "Contact: <sip:bob@10.0.0.5;transport="+strings.ToLower(k.Proto.String())+">;methods=\"INVITE , FOO\";received=\"sip:192.0.2.66\"\nUser-Agent: Desk 1").Expect(200)
		have := list(t, store, "bob@example.com")[0]
		require.Equal(t, uint32(1<<31|5), have.Flags)
		require.Equal(t, "Desk 1", have.UserAgent)
		require.Equal(t, []sip.Method{"INVITE", "FOO"}, have.Methods)
		require.Equal(t, p.Addr().Addr(), have.Received.AddrPort.Addr())
		require.Equal(t, k.Proto, have.Local.Proto)
		require.Equal(t, s.Addrs()[0].AddrPort, have.Local.AddrPort)
		require.NotContains(t, res.Get("Contact"), "192.0.2.66", "a stranger's word on where it is")
		require.Equal(t, !k.Proto.Reliable(), strings.Contains(res.Get("Contact"), ";received=\"sip:192.0.2.20:5060\""), res.Get("Contact"))
		alice := k.Phone("alice", "192.0.2.10")
		require.Contains(t, alice.Request(t, "FOO", "sip:bob@example.com").Final().Reason, "OK")
		res = alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(405)
		require.True(t, res.HasToken("Allow", "INVITE") && res.HasToken("Allow", "FOO"))
	})
}

func TestAliases(t *testing.T) {
	to := func(s string) sip.URI { return sip.MustParseURI("sip:" + s) }
	aliases := registrar.Aliases{
		"info@example.com": to("sales@example.com"), "sales@example.com": to("jan@example.com"), "away@example.com": to("j@elsewhere.example"),
		"me@example.com": to("me@example.com"), "tick@example.com": to("tock@example.com"), "tock@example.com": to("tick@example.com"), "a;b@example.com": to("jan@example.com"),
	}
	for from, want := range map[string]string{
		"info@EXAMPLE.com": "jan@example.com", "%69nfo@example.com;transport=tcp": "jan@example.com", "INFO@example.com": "", "jan@example.com": "",
		"away@example.com": "j@elsewhere.example", "me@example.com": "me@example.com", "a%3Bb@example.com": "jan@example.com",
	} {
		u, found := aliases.Resolve(to(from))
		require.Equal(t, want != "", found, from)
		if found {
			require.Equal(t, "sip:"+want, u.String())
		} else {
			require.Equal(t, to(from), u)
		}
	}
	_, found := aliases.Resolve(to("tick@example.com")) // a circle ends
	require.True(t, found)

	dials := registrar.SpeedDials{"jan@example.com": {"12": to("ann@example.com")}}
	u, found := dials.Resolve("jan@example.com", to("12@example.com"))
	require.True(t, found)
	require.Equal(t, "ann", u.User)
	_, found = dials.Resolve("jan@example.com", to("1%32@example.com"))
	require.True(t, found, "an escape is what it stands for (RFC 3261 §19.1.4)")
	for _, x := range []struct {
		caller registrar.AOR
		dialed string
	}{{"jan@example.com", "13@example.com"}, {"ann@example.com", "12@example.com"}, {"", ""}} {
		_, found = dials.Resolve(x.caller, sip.URI{Scheme: "sip", User: strings.TrimSuffix(x.dialed, "@example.com")})
		require.False(t, found)
	}
}
