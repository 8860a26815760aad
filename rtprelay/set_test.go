package rtprelay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/rtprelay/internal/rtpstub"
	"github.com/sipkit/sipkit/rtprelay/rtprelaytest"
)

func TestSetContract(t *testing.T) {
	trio := func(t *testing.T) *rtprelay.Set {
		s := &rtprelay.Set{}
		for _, kind := range []string{"udp", "cunix", "tcp"} {
			s.Members = append(s.Members, rtprelay.Member{Name: kind, Engine: serve(t, &rtpstub.Relay{}, kind, nil)})
		}
		return s
	}
	t.Run("set", func(t *testing.T) { rtprelaytest.TestEngine(t, func() rtprelay.Engine { return trio(t) }) })
	t.Run("hedging set", func(t *testing.T) {
		rtprelaytest.TestEngine(t, func() rtprelay.Engine { s := trio(t); s.Hedge = 10 * time.Second; return s })
	})
	t.Run("sets", func(t *testing.T) {
		rtprelaytest.TestEngine(t, func() rtprelay.Engine { return &rtprelay.Sets{Groups: map[int]*rtprelay.Set{0: trio(t), 1: trio(t)}} })
	})
}

// fake is an engine that works as told.
type fake struct {
	mu       sync.Mutex
	sessions map[string]bool
	err      error         // of everything but Probe, which fails with silence
	delay    time.Duration // of everything
	offers   int
	probes   []time.Duration
	start    time.Time
	closed   bool
	deaf     bool // does not look at ctx
}

func newFake() *fake { return &fake{sessions: map[string]bool{}, start: time.Now()} }

func (f *fake) set(err error, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.delay = err, delay
}

func (f *fake) count() int { f.mu.Lock(); defer f.mu.Unlock(); return f.offers }

func (f *fake) probed() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Duration(nil), f.probes...)
}

func (f *fake) has(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[call]
}

func (f *fake) wait(ctx context.Context) error {
	f.mu.Lock()
	err, delay := f.err, f.delay
	f.mu.Unlock()
	if f.deaf {
		ctx = context.Background()
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", rtprelay.ErrUnavailable, ctx.Err())
		}
	}
	return err
}

func (f *fake) Offer(ctx context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	f.mu.Lock()
	f.offers++
	f.mu.Unlock()
	if err := f.wait(ctx); err != nil {
		return rtprelay.Result{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[p.CallID] = true
	return rtprelay.Result{SDP: "o", Streams: 1}, nil
}

func (f *fake) Answer(ctx context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	if err := f.wait(ctx); err != nil {
		return rtprelay.Result{}, err
	}
	if !f.has(p.CallID) {
		return rtprelay.Result{}, rtprelay.ErrNoSession
	}
	return rtprelay.Result{SDP: "a", Streams: 1}, nil
}

func (f *fake) Delete(ctx context.Context, r rtprelay.Ref) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, r.CallID)
	return nil
}

func (f *fake) Query(ctx context.Context, r rtprelay.Ref) (rtprelay.Stats, error) {
	if !f.has(r.CallID) {
		return rtprelay.Stats{}, rtprelay.ErrNoSession
	}
	return rtprelay.Stats{Dropped: 7}, nil
}

func (f *fake) Probe(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes = append(f.probes, time.Since(f.start))
	if f.err != nil {
		return rtprelay.ErrUnavailable
	}
	return nil
}

func (f *fake) Close() error { f.closed = true; return nil }

func fakeSet(n int) (*rtprelay.Set, map[string]*fake) {
	s, all := &rtprelay.Set{}, map[string]*fake{}
	for i := range n {
		name := string(rune('a' + i))
		all[name] = newFake()
		s.Members = append(s.Members, rtprelay.Member{Name: name, Engine: all[name]})
	}
	return s, all
}

func offerAt(t *testing.T, s rtprelay.Engine, call string) string {
	t.Helper()
	res, err := s.Offer(t.Context(), params(call, sdpA))
	require.NoError(t, err)
	return res.Node
}

// callOn is a Call-ID whose home is node.
func callOn(t *testing.T, n int, node string) string {
	s, _ := fakeSet(n)
	defer func() { _ = s.Close() }()
	for i := range 1000 {
		if call := fmt.Sprintf("call%d", i); offerAt(t, s, call) == node {
			return call
		}
	}
	t.Fatal("no call falls on " + node)
	return ""
}

func TestSetWeights(t *testing.T) {
	s, all := fakeSet(4)
	s.Members[0].Weight, s.Members[1].Weight, s.Members[2].Weight, s.Members[3].Weight = 1, 2, 5, -1
	defer func() { _ = s.Close() }()
	for i := range 8000 {
		offerAt(t, s, fmt.Sprintf("%d@host", i))
	}
	require.InDelta(t, 1000, all["a"].count(), 150)
	require.InDelta(t, 2000, all["b"].count(), 200)
	require.InDelta(t, 5000, all["c"].count(), 250)
	require.Zero(t, all["d"].count())
}

func TestSetChoiceIsStable(t *testing.T) {
	one, _ := fakeSet(5)
	two, _ := fakeSet(5)
	two.Members[0], two.Members[3] = two.Members[3], two.Members[0]
	less, _ := fakeSet(4)
	moved := 0
	for i := range 1000 {
		call := fmt.Sprintf("%d@host", i)
		node := offerAt(t, one, call)
		require.Equal(t, node, offerAt(t, two, call), "another proxy with another order")
		switch to := offerAt(t, less, call); {
		case node == "e":
			moved++
		default:
			require.Equal(t, node, to, "only the calls of the missing member move")
		}
	}
	require.InDelta(t, 200, moved, 60)
	require.Equal(t, "c", callNode(t), "the hash is part of the contract between versions")
}

func callNode(t *testing.T) string {
	s, _ := fakeSet(5)
	return offerAt(t, s, "a84b4c76e66710@pc33.atlanta.com")
}

func TestSetFailover(t *testing.T) {
	call := callOn(t, 3, "b")
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(3)
		var changes []string
		var mu sync.Mutex
		s.OnChange = func(node string, up bool) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, fmt.Sprint(node, up))
		}
		defer func() { _ = s.Close() }()
		all["b"].set(rtprelay.ErrUnavailable, time.Second)
		start := time.Now()
		node := offerAt(t, s, call)
		require.NotEqual(t, "b", node)
		require.Equal(t, time.Second, time.Since(start))
		// it is out: no other call waits for it
		require.NotEqual(t, "b", offerAt(t, s, call+"x"))
		for i := range 50 {
			offerAt(t, s, fmt.Sprint(i))
		}
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 1, all["b"].count())
		require.False(t, s.Nodes()[1].Up)
		require.Equal(t, uint64(1), s.Nodes()[1].Downs)

		// the answer goes where the offer went, although b is back
		time.Sleep(8 * time.Second)
		all["b"].set(nil, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, s.Nodes()[1].Up)
		sec := time.Second
		require.Equal(t, []time.Duration{2 * sec, 4 * sec, 8 * sec, 16 * sec}, all["b"].probed())
		mu.Lock()
		require.Equal(t, []string{"bfalse", "btrue"}, changes)
		mu.Unlock()
		p := params(call, sdpA)
		p.ToTag = "t"
		res, err := s.Answer(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, node, res.Node)
		stats, err := s.Query(t.Context(), p.Ref)
		require.NoError(t, err)
		require.Equal(t, uint64(7), stats.Dropped)

		// a second proxy: told the node, or by asking
		for _, told := range []string{node, "", "gone"} {
			other := &rtprelay.Set{Members: s.Members}
			p.Node = told
			res, err = other.Answer(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, node, res.Node)
		}
		other := &rtprelay.Set{Members: s.Members}
		p.Node = ""
		require.NoError(t, other.Delete(t.Context(), p.Ref))
		require.False(t, all[node].has(call))
	})
}

// TestSetMovesWholeOffer: two streams, the second of which fails at the first relay.
func TestSetMovesWholeOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := map[string]*rtpstub.Relay{"a": {}, "b": {}}
		s := &rtprelay.Set{}
		for _, name := range []string{"a", "b"} {
			s.Members = append(s.Members, rtprelay.Member{Name: name, Engine: virtual(relays[name], nil, 0)})
		}
		defer func() { _ = s.Close() }()
		home := offerAt(t, s, "x")
		require.NoError(t, s.Delete(t.Context(), params("x", "").Ref))
		relays[home].Fault = func(c string) (string, bool) { return "E71", strings.Contains(c, "f;2") }
		res, err := s.Offer(t.Context(), params("x", sdpA+"m=video 10002 RTP/AVP 31\r\n"))
		require.NoError(t, err)
		require.NotEqual(t, home, res.Node)
		synctest.Wait()
		require.Zero(t, relays[home].Sessions())
		require.Equal(t, 2, relays[res.Node].Sessions())
		require.True(t, s.Nodes()[0].Up && s.Nodes()[1].Up, "busy is not dead")
	})
}

func TestSetReOffer(t *testing.T) {
	call := callOn(t, 3, "a")
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(3)
		defer func() { _ = s.Close() }()
		require.Equal(t, "a", offerAt(t, s, call))
		p := params(call, sdpA)
		p.ToTag = "t"
		all["a"].set(&rtprelay.BusyError{Code: "E98"}, 0)
		_, err := s.Offer(t.Context(), p)
		require.ErrorIs(t, err, rtprelay.ErrUnavailable, "the session is still there: the call stays")
		all["a"].set(&rtprelay.RefusedError{Code: "E37"}, 0)
		_, err = s.Offer(t.Context(), p)
		var refused *rtprelay.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Zero(t, all["b"].count()+all["c"].count())
		all["a"].set(rtprelay.ErrUnavailable, time.Second)
		res, err := s.Offer(t.Context(), p)
		require.NoError(t, err, "dead: the call moves")
		require.NotEqual(t, "a", res.Node)
		moved, err := s.Answer(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, res.Node, moved.Node)
	})
}

func TestSetAllOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(2)
		defer func() { _ = s.Close() }()
		for _, f := range all {
			f.set(rtprelay.ErrUnavailable, 0)
		}
		for range 3 {
			_, err := s.Offer(t.Context(), params("c", sdpA))
			require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		}
		require.Equal(t, 2, all["a"].count()+all["b"].count())
		for _, f := range all {
			f.set(nil, 0)
		}
		time.Sleep(1100 * time.Millisecond)
		offerAt(t, s, "c")
	})
}

// TestSetHangingMember: calls of others take no longer, and those of the hanging one wait once.
func TestSetHangingMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(4)
		s.Pending = 10
		defer func() { _ = s.Close() }()
		all["c"].set(rtprelay.ErrUnavailable, time.Second)
		var slow, fast atomic.Int32
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				start := time.Now()
				if _, err := s.Offer(t.Context(), params(fmt.Sprint(i), sdpA)); err != nil {
					t.Error(err)
				}
				if time.Since(start) == 0 {
					fast.Add(1)
				} else {
					slow.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int32(10), slow.Load(), "no more than Pending wait for it")
		require.Equal(t, int32(390), fast.Load())
	})
}

func TestSetHedge(t *testing.T) {
	call := callOn(t, 3, "a")
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(3)
		s.Hedge = 100 * time.Millisecond
		defer func() { _ = s.Close() }()
		all["a"].set(nil, 500*time.Millisecond)
		all["a"].deaf = true
		start := time.Now()
		node := offerAt(t, s, call)
		require.NotEqual(t, "a", node)
		require.Equal(t, s.Hedge, time.Since(start))
		time.Sleep(600 * time.Millisecond)
		require.True(t, all["a"].has(call))
		time.Sleep(time.Second)
		require.False(t, all["a"].has(call), "nothing is left at the slow one")
		require.True(t, s.Nodes()[0].Up, "slow is not dead")

		all["a"].set(&rtprelay.BusyError{}, 0)
		start = time.Now()
		offerAt(t, s, call+"2")
		require.Zero(t, time.Since(start), "a failure does not wait for the timer")

		for _, f := range all {
			f.set(rtprelay.ErrUnavailable, 10*time.Millisecond)
		}
		_, err := s.Offer(t.Context(), params("x", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
	})
}

func TestSetPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(2)
		s.Ping, s.Probe = 10*time.Second, 2*time.Second
		offerAt(t, s, "c")
		time.Sleep(15 * time.Second)
		require.Len(t, all["a"].probed(), 1)
		all["a"].set(errors.New("x"), 0)
		time.Sleep(6 * time.Second)
		require.False(t, s.Nodes()[0].Up, "found out without a call")
		all["a"].set(nil, 0)
		time.Sleep(3 * time.Second)
		require.True(t, s.Nodes()[0].Up)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		n := len(all["a"].probed())
		time.Sleep(time.Hour)
		require.Len(t, all["a"].probed(), n)
		require.True(t, all["a"].closed)
	})
}

func TestSetEnable(t *testing.T) {
	s, all := fakeSet(2)
	defer func() { _ = s.Close() }()
	call := callOn(t, 2, "a")
	require.Equal(t, "a", offerAt(t, s, call))
	require.True(t, s.Enable("a", false))
	require.False(t, s.Enable("z", false))
	for i := range 20 {
		require.Equal(t, "b", offerAt(t, s, fmt.Sprint("new", i)))
	}
	require.Equal(t, "a", offerAt(t, s, call), "calls that it has stay")
	require.Equal(t, 2, all["a"].count())
	require.False(t, s.Nodes()[0].Enabled)
}

func TestSetCancelledCallerIsNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := fakeSet(1)
		defer func() { _ = s.Close() }()
		all["a"].set(nil, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Offer(ctx, params("c", sdpA))
		require.ErrorIs(t, err, rtprelay.ErrUnavailable)
		require.True(t, s.Nodes()[0].Up)
	})
}

func TestSetChecks(t *testing.T) {
	_, err := (&rtprelay.Set{}).Offer(t.Context(), params("c", sdpA))
	require.ErrorContains(t, err, "without members")
	require.NoError(t, (&rtprelay.Set{}).Close())
	s := &rtprelay.Set{Members: []rtprelay.Member{{Name: "a", Engine: newFake()}, {Name: "a"}}}
	require.ErrorContains(t, s.Check(), "two members")
	require.ErrorContains(t, s.Check(), "no engine")
	require.Nil(t, s.Nodes())
}

func TestSets(t *testing.T) {
	zero, _ := fakeSet(2)
	two, all := fakeSet(2)
	s := &rtprelay.Sets{Groups: map[int]*rtprelay.Set{0: zero, 2: two}}
	require.NoError(t, s.Check())
	p := params("c", sdpA)
	p.Group = 2
	res, err := s.Offer(t.Context(), p)
	require.NoError(t, err)
	require.Regexp(t, "^2/[ab]$", res.Node)
	require.Equal(t, 1, all["a"].count()+all["b"].count())
	p.Group, p.Node, p.ToTag = 0, res.Node, "t"
	res, err = s.Answer(t.Context(), p)
	require.NoError(t, err, "the node names the group")
	require.Equal(t, p.Node, res.Node)
	_, err = s.Query(t.Context(), p.Ref)
	require.NoError(t, err)
	require.ErrorIs(t, s.Play(t.Context(), p.Ref, false, "x", 1), rtprelay.ErrUnsupported)
	require.ErrorIs(t, s.StopRecord(t.Context(), p.Ref), rtprelay.ErrUnsupported)
	require.NoError(t, s.Delete(t.Context(), p.Ref))
	require.False(t, all[res.Node[2:]].has("c"))
	require.NotContains(t, offerAt(t, s, "c"), "/")
	for _, r := range []rtprelay.Ref{{Group: 7}, {Node: "7/a"}} {
		var refused *rtprelay.RefusedError
		require.ErrorAs(t, s.Delete(t.Context(), r), &refused)
	}
	require.NoError(t, s.Close())
	s.Groups[3] = nil
	zero.Members[0].Name = "a/b"
	require.ErrorContains(t, s.Check(), "nil")
	require.ErrorContains(t, s.Check(), "slash")
}
