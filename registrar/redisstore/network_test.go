package redisstore

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
)

const aBeat = 200 * time.Millisecond

// A slow server is waited for, and what the cache knows is not.
func TestSlowNetwork(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startServer(t))
	s := p.open(t, Config{CacheAge: time.Hour})
	p.delay.Store(int64(50 * time.Millisecond))
	require.NoError(t, set(s, "a@x", 1))
	waitFor(t, func() bool { _, ok := s.cache.fresh("a@x"); return ok })
	before := s.Stats()
	for range 1000 {
		require.EqualValues(t, 1, cseq(t, s, "a@x"))
	}
	require.Equal(t, before.Operations, s.Stats().Operations)
	require.Equal(t, before.CacheHits+1000, s.Stats().CacheHits)
}

// One that is too slow, or takes connections and says nothing, is no server: whoever asks is told so, the cache answers, and
// when it is back, so are we.
func TestHangingNetwork(t *testing.T) {
	for name, harm := range map[string]func(*proxy){
		"slow":   func(p *proxy) { p.delay.Store(int64(time.Hour)) },
		"silent": func(p *proxy) { p.silent.Store(true); p.freeze() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, startServer(t))
			s := p.open(t, Config{Timeout: 500 * time.Millisecond, CacheAge: time.Hour})
			waitFor(t, func() bool { return set(s, "a@x", 1) == nil })
			waitFor(t, func() bool { _, ok := s.cache.fresh("a@x"); return ok })
			harm(p)
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					if err := set(s, fmt.Sprint(i, "@x"), 1); err == nil {
						t.Error("acknowledged without a server")
					} else if !errors.Is(err, registrar.ErrUnavailable) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, cseq(t, s, "a@x"))
			_, err := s.Lookup(t.Context(), "unknown@x")
			require.ErrorIs(t, err, registrar.ErrUnavailable)
			require.Less(t, s.Stats().Trips, uint64(100), "each waited for itself")

			p.silent.Store(false)
			p.delay.Store(0)
			p.each(func(l *link) { l.close() })
			waitFor(t, func() bool { return set(s, "a@x", 2) == nil && s.Stats().Connected && cseq(t, s, "a@x") == 2 })
		})
	}
}

// All connections are half open, as after the loss of a firewall's state: they are given up without anybody telling.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	p := startProxy(t, srv)
	s := p.open(t, Config{Timeout: 500 * time.Millisecond, CacheAge: time.Hour, heartbeat: aBeat})
	waitFor(t, func() bool { return set(s, "a@x", 1) == nil })
	p.freeze()
	other := srv.open(t, Config{})
	require.NoError(t, set(other, "a@x", 2))
	waitFor(t, func() bool { return set(s, "b@x", 1) == nil })
	waitFor(t, func() bool { return cseq(t, s, "a@x") == 2 && s.Stats().Connected })
}

// Only the subscription is half open. The heartbeat notices, and the cache is no longer believed.
func TestHalfOpenSubscription(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	p := startProxy(t, srv)
	s := p.open(t, Config{CacheAge: time.Hour, heartbeat: aBeat})
	require.NoError(t, set(s, "a@x", 1))
	waitFor(t, func() bool { _, ok := s.cache.fresh("a@x"); return ok })
	p.freezeSubscriptions()
	require.NoError(t, set(srv.open(t, Config{}), "a@x", 2))
	waitFor(t, func() bool { return cseq(t, s, "a@x") == 2 })
}

// The address leads to another server from now on, and the old one lives: the subscription must follow the commands.
func TestSubscriptionFollowsAddress(t *testing.T) {
	t.Parallel()
	before, after := startServer(t), startServer(t)
	p := startProxy(t, before)
	s := p.open(t, Config{CacheAge: time.Hour, heartbeat: aBeat})
	require.NoError(t, set(s, "a@x", 1))
	p.lead(after)
	p.closeCommands()
	waitFor(t, func() bool { return set(s, "a@x", 2) == nil })
	other := after.open(t, Config{})
	for i := range uint32(3) {
		require.NoError(t, set(other, "a@x", 3+i))
		waitFor(t, func() bool { return cseq(t, s, "a@x") == 3+i })
	}
}

// The server has become a replica and its address leads to another: connections that only read would stay there for ever.
func TestReplicaIsLeft(t *testing.T) {
	t.Parallel()
	before, after := startServer(t), startServer(t)
	p := startProxy(t, before)
	s := p.open(t, Config{CacheSize: -1, Pipelines: 1})
	require.NoError(t, set(s, "a@x", 1))
	before.do("REPLICAOF", "127.0.0.1", after.port)
	p.lead(after)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			err := errors.New("not tried")
			for err != nil {
				err = set(s, fmt.Sprint(i, "@x"), 1)
			}
		})
	}
	wg.Wait()
}

// For that, the server is asked for a write first.
func TestScriptIsFirst(t *testing.T) {
	l := []*op{{key: "a"}, {key: "b"}, {key: "c", swap: true}, {key: "d"}}
	w := worker{batch: append([]*op(nil), l...)}
	w.scriptFirst()
	require.Same(t, l[2], w.batch[0])
	require.ElementsMatch(t, l, w.batch)
}

// Nobody waits in the queue for longer than Timeout.
func TestQueueIsNotWaitedFor(t *testing.T) {
	s := startServer(t).open(t, Config{})
	waitFor(t, func() bool { return s.Stats().Connected })
	o := newOp(s.key("a@x"))
	o.begun = time.Now().Add(-2 * s.cfg.Timeout)
	s.lanes[0].queue <- o
	<-o.done
	require.ErrorIs(t, o.err, registrar.ErrUnavailable)
	require.Zero(t, s.Stats().Trips)
}
