package redisstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/registrar/registrartest"
	"github.com/sipkit/sipkit/sip"
)

func TestKit(t *testing.T) {
	srv := startServer(t)
	for name, cfg := range map[string]Config{
		"cache":    {},
		"no cache": {CacheSize: -1},
		"tiny":     {CacheSize: 1, Pipelines: 1},
		"odd name": {Prefix: "a*[b]?{c}\\:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Options.Addrs = []string{srv.addr()}
			testKit(t, cfg)
		})
	}
}

// testKit gives each store a prefix of its own.
func testKit(t *testing.T, cfg Config) {
	var n atomic.Int64
	name := t.Name()
	prefixes := map[registrar.Store]string{}
	openAt := func(t *testing.T, prefix string) registrar.Store {
		c := cfg
		c.Prefix = prefix
		s := open(t, c)
		prefixes[s] = prefix
		return s
	}
	fresh := func(t *testing.T) registrar.Store {
		return openAt(t, fmt.Sprintf("%s%s:%d:", cfg.Prefix, name, n.Add(1)))
	}
	registrartest.TestStore(t, fresh)
	registrartest.TestDurable(t, fresh, func(t *testing.T, s registrar.Store) registrar.Store {
		require.NoError(t, s.Close())
		return openAt(t, prefixes[s])
	})
}

func binding(user string, cseq uint32) registrar.Binding {
	return registrar.Binding{Contact: sip.URI{Scheme: "sip", User: user, Host: "192.0.2.1"}, CSeq: cseq, CallID: "c", Expires: time.Now().Add(time.Hour)}
}

func set(s *Store, aor string, cseq uint32) error {
	return s.Update(context.Background(), registrar.AOR(aor), func([]registrar.Binding) ([]registrar.Binding, error) {
		return []registrar.Binding{binding(aor, cseq)}, nil
	})
}

func cseq(t testing.TB, s *Store, aor string) uint32 {
	t.Helper()
	bs, err := s.Lookup(context.Background(), registrar.AOR(aor))
	require.NoError(t, err)
	if len(bs) == 0 {
		return 0
	}
	return bs[0].CSeq
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 2*time.Millisecond)
}

// Two nodes count in one binding: no step is lost, whatever their caches hold.
func TestTwoNodesAreAtomic(t *testing.T) {
	srv := startServer(t)
	nodes := []*Store{srv.open(t, Config{}), srv.open(t, Config{})}
	var wg sync.WaitGroup
	for _, n := range nodes {
		waitFor(t, func() bool { return n.Stats().Connected })
		for range 4 {
			wg.Go(func() {
				for range 100 {
					err := n.Update(t.Context(), "a@x", func(old []registrar.Binding) ([]registrar.Binding, error) {
						if len(old) == 0 {
							return []registrar.Binding{binding("a", 1)}, nil
						}
						b := old[0]
						b.CSeq++
						return []registrar.Binding{b}, nil
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, n := range nodes {
		waitFor(t, func() bool { return cseq(t, n, "a@x") == 800 })
	}
}

// What one node changes, the other's cache learns; its own change a node sees at once.
func TestCacheFollowsOthers(t *testing.T) {
	srv := startServer(t)
	cacheFollows(t, Config{Options: redis.UniversalOptions{Addrs: []string{srv.addr()}}}, 200)
}

// cacheFollows checks it on as many addresses as there are in rounds.
func cacheFollows(t *testing.T, cfg Config, rounds int) {
	t.Helper()
	cfg.CacheAge = time.Hour
	a, b := open(t, cfg), open(t, cfg)
	waitFor(t, func() bool { return a.Stats().Connected && b.Stats().Connected })
	for i := range rounds {
		aor, n := fmt.Sprint(i%10, "@x"), uint32(i+1)
		require.NoError(t, set(a, aor, n))
		require.Equal(t, n, cseq(t, a, aor), "own change not seen")
		waitFor(t, func() bool { return cseq(t, b, aor) == n })
		waitFor(t, func() bool { // the cache does answer
			before := b.Stats()
			cseq(t, b, aor)
			return b.Stats().CacheHits == before.CacheHits+1 && b.Stats().Operations == before.Operations
		})
	}
}

// A refused Update is judged by what Redis holds, not by an outdated cache.
func TestRefusalIsNotFromTheCache(t *testing.T) {
	srv := startServer(t)
	a := srv.open(t, Config{})
	waitFor(t, func() bool { return a.Stats().Connected })
	require.NoError(t, set(a, "a@x", 1))
	waitFor(t, func() bool { _, ok := a.cache.fresh("a@x"); return ok })
	srv.do("DEL", "sipkit:{a@x}") // no event tells of it
	calls := 0
	err := a.Update(t.Context(), "a@x", func(old []registrar.Binding) ([]registrar.Binding, error) {
		calls++
		if len(old) > 0 {
			return nil, fmt.Errorf("taken")
		}
		return []registrar.Binding{binding("a", 7)}, nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.EqualValues(t, 7, cseq(t, a, "a@x"))
}

func TestKeyExpires(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, Config{})
	require.NoError(t, set(s, "a@x", 1))
	var ms int64
	_, err := fmt.Sscan(srv.do("PTTL", "sipkit:{a@x}"), &ms)
	require.NoError(t, err)
	require.InDelta(t, float64((time.Hour + keySlack).Milliseconds()), float64(ms), 60_000)
	require.NoError(t, s.Update(t.Context(), "a@x", func([]registrar.Binding) ([]registrar.Binding, error) { return nil, nil }))
	require.Equal(t, "0", srv.do("EXISTS", "sipkit:{a@x}"))
}

// The server is killed in the middle of updates and comes back with its data: nothing acknowledged is lost, failures
// are told at once, lookups go on from the cache, and afterwards everything works again.
func TestServerKilled(t *testing.T) {
	srv := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	s := srv.open(t, Config{CacheAge: time.Hour})
	waitFor(t, func() bool { return s.Stats().Connected })
	require.NoError(t, set(s, "cached@x", 1))
	waitFor(t, func() bool { _, ok := s.cache.fresh("cached@x"); return ok })

	var wg sync.WaitGroup
	var stop atomic.Bool
	var acknowledged [8]atomic.Uint32
	for w := range acknowledged {
		wg.Go(func() {
			for i := uint32(1); !stop.Load(); i++ {
				if set(s, fmt.Sprint(w, "@x"), i) == nil {
					acknowledged[w].Store(i)
				}
			}
		})
	}
	many := func() bool {
		for w := range acknowledged {
			if acknowledged[w].Load() < 50 {
				return false
			}
		}
		return true
	}
	waitFor(t, many)
	srv.kill()
	waitFor(t, func() bool { return s.Stats().Unavailable > 0 })
	stop.Store(true)
	wg.Wait()

	require.ErrorIs(t, set(s, "a@x", 1), registrar.ErrUnavailable)
	_, err := s.Lookup(t.Context(), "unknown@x")
	require.ErrorIs(t, err, registrar.ErrUnavailable)
	require.EqualValues(t, 1, cseq(t, s, "cached@x"))
	waitFor(t, func() bool { return !s.Stats().Connected })
	require.EqualValues(t, 1, cseq(t, s, "cached@x"))
	require.ErrorIs(t, set(s, "cached@x", 2), registrar.ErrUnavailable)
	require.EqualValues(t, 1, cseq(t, s, "cached@x"), "a refused refresh does not lose the phone")
	require.NotZero(t, s.Stats().Stale)
	for range s.Scan(t.Context()) {
		t.Fatal("Scan without a server")
	}

	srv.start()
	waitFor(t, func() bool { return set(s, "a@x", 2) == nil && s.Stats().Connected })
	for w := range acknowledged {
		require.GreaterOrEqual(t, cseq(t, s, fmt.Sprint(w, "@x")), acknowledged[w].Load())
	}
}

// A server that hangs costs one time-out, not one for each Update, and the cache ages.
func TestServerHangs(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, Config{Timeout: 2 * time.Second, Pause: time.Hour, CacheAge: time.Second})
	waitFor(t, func() bool { return s.Stats().Connected })
	require.NoError(t, set(s, "a@x", 1))
	waitFor(t, func() bool {
		_, err := s.Lookup(t.Context(), "a@x")
		_, ok := s.cache.fresh("a@x")
		return err == nil && ok
	})
	pauseProcess(t, srv.cmd.Process)
	waitFor(t, func() bool { return set(s, "b@x", 1) != nil })
	before := s.Stats().Trips
	for range 10_000 {
		require.ErrorIs(t, set(s, "b@x", 1), registrar.ErrUnavailable)
	}
	require.Equal(t, before, s.Stats().Trips)
	waitFor(t, func() bool { _, err := s.Lookup(t.Context(), "a@x"); return err != nil })
}

// A waiting Update obeys its context.
func TestUpdateObeysContext(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, Config{Timeout: time.Hour})
	waitFor(t, func() bool { return s.Stats().Connected })
	pauseProcess(t, srv.cmd.Process)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Update(ctx, "a@x", func([]registrar.Binding) ([]registrar.Binding, error) {
		return []registrar.Binding{binding("a", 1)}, nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestServerComesLater(t *testing.T) {
	srv := startServer(t)
	srv.kill()
	s := srv.open(t, Config{})
	require.ErrorIs(t, set(s, "a@x", 1), registrar.ErrUnavailable)
	srv.start()
	waitFor(t, func() bool { return set(s, "a@x", 1) == nil })
	waitFor(t, func() bool { return s.Stats().Connected })
}

// After a restart without data the script has to be sent again.
func TestScriptIsSentAgain(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, Config{})
	require.NoError(t, set(s, "a@x", 1))
	srv.do("SCRIPT", "FLUSH")
	require.NoError(t, set(s, "a@x", 2))
	require.EqualValues(t, 2, cseq(t, s, "a@x"))
}

func TestWatchSeesOtherNodes(t *testing.T) {
	srv := startServer(t)
	a, b := srv.open(t, Config{}), srv.open(t, Config{})
	events := make(chan registrar.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Watch(ctx, func(e registrar.Event) { events <- e }) }()
	waitFor(t, func() bool { _ = set(a, "probe@x", uint32(time.Now().UnixNano())); return len(events) > 0 })
	for len(events) > 0 {
		<-events
	}
	require.NoError(t, set(a, "a@x", 1))
	for e := range events {
		if e.AOR == "a@x" {
			require.Equal(t, registrar.Registered, e.Kind)
			require.EqualValues(t, 1, e.Binding.CSeq)
			break
		}
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestParseURL(t *testing.T) {
	c, err := ParseURL("redis://u:p@h1:7000/3?addr=h2:7001&addr=h3:7002&master=m&prefix=x:")
	require.NoError(t, err)
	require.Equal(t, []string{"h1:7000", "h2:7001", "h3:7002"}, c.Options.Addrs)
	require.Equal(t, "m", c.Options.MasterName)
	require.Equal(t, "u", c.Options.Username)
	require.Equal(t, "p", c.Options.Password)
	require.Equal(t, 3, c.Options.DB)
	require.Equal(t, "x:", c.Prefix)
	c, err = ParseURL("rediss://h?cluster=true")
	require.NoError(t, err)
	require.NotNil(t, c.Options.TLSConfig)
	require.True(t, c.Options.IsClusterMode)
	for _, bad := range []string{"", "http://h", "redis://h/x", "redis://u:secret@h?what=1", "redis://u:secret@h:port"} {
		_, err := ParseURL(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
	}
}

func FuzzParseChange(f *testing.F) {
	b := registrar.Binding{CallID: "x"}
	for _, kind := range []registrar.EventKind{registrar.Registered, registrar.Removed} {
		head := appendHead(nil, 1, "a@x", []registrar.Event{{Kind: kind, Binding: b}}, []registrar.Binding{b})
		f.Add(string(head))
		f.Add(string(registrar.AppendBindings(append(head, "12345678"...), []registrar.Binding{b})))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parseChange(s); ok {
			c.tell(c.bindings(), func(registrar.Event) {})
			_, _ = c.value.bindings(time.Now())
		}
	})
}
