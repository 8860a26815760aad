package registrartest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
)

// watch starts a Watch and returns its events, once it is sure to be in place.
func (k *kit) watch(t *testing.T) <-chan registrar.Event {
	t.Helper()
	const probe = "probe@kit.example"
	ctx, cancel := context.WithCancel(k.ctx)
	events, probes := make(chan registrar.Event, 4096), make(chan registrar.Event, 4096)
	ended := make(chan error, 1)
	go func() {
		ended <- k.Watch(ctx, func(e registrar.Event) {
			if e.AOR == probe {
				probes <- e
				return
			}
			events <- e
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
	for i := 0; ; i++ {
		k.put(t, probe, plain(fmt.Sprint(i)))
		select {
		case <-probes:
			return events
		case <-time.After(20 * time.Millisecond):
			require.Less(t, i, 500, "Watch tells nothing")
		}
	}
}

// expect takes as many events as are wanted, each "Kind user", of one Update in any order.
func expect(t *testing.T, events <-chan registrar.Event, aor registrar.AOR, want ...string) {
	t.Helper()
	var got []string
	for range want {
		select {
		case e := <-events:
			require.Equal(t, aor, e.AOR)
			got = append(got, kindName(e.Kind)+" "+e.Binding.Contact.User)
		case <-time.After(patience):
			t.Fatalf("events: want %q, got %q", want, got)
		}
	}
	require.ElementsMatch(t, want, got)
}

func kindName(k registrar.EventKind) string {
	return [...]string{"?", "registered", "refreshed", "removed", "expired"}[k]
}

func testWatch(t *testing.T, k *kit) {
	events := k.watch(t)
	const aor = "watch@kit.example"
	a, b := plain("a"), plain("b")
	k.put(t, aor, a)
	expect(t, events, aor, "registered a")
	k.put(t, aor, a, b)
	expect(t, events, aor, "registered b")
	a.CSeq, a.Expires = 2, a.Expires.Add(time.Second)
	k.put(t, aor, b, a)
	expect(t, events, aor, "refreshed a")
	k.put(t, aor, b)
	expect(t, events, aor, "removed a")
	k.put(t, aor, a, plain("c"))
	expect(t, events, aor, "removed b", "registered a", "registered c")
	full := full()
	k.put(t, aor)
	expect(t, events, aor, "removed a", "removed c")
	k.put(t, aor, full)
	select {
	case e := <-events:
		equal(t, []registrar.Binding{full}, []registrar.Binding{e.Binding})
	case <-time.After(patience):
		t.Fatal("no event")
	}
}

func testWatchExpiry(t *testing.T, k *kit) {
	events := k.watch(t)
	const aor = "watchexpiry@kit.example"
	short, long := plain("short"), plain("long")
	short.Expires, long.Expires = time.Now().Add(300*time.Millisecond), time.Now().Add(2*time.Second)
	k.put(t, aor, short, long)
	expect(t, events, aor, "registered short", "registered long")
	expect(t, events, aor, "expired short")
	require.False(t, time.Now().Before(short.Expires), "expired too early")
	expect(t, events, aor, "expired long")
	require.False(t, time.Now().Before(long.Expires), "expired too early")
}

func testWatchEnds(t *testing.T, k *kit) {
	ended := make(chan error, 1)
	seen := make(chan struct{}, 1)
	go func() {
		ended <- k.Watch(k.ctx, func(registrar.Event) {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	for i := 0; len(seen) == 0; i++ {
		k.put(t, "ends@kit.example", plain(fmt.Sprint(i)))
		time.Sleep(5 * time.Millisecond)
		require.Less(t, i, 2000, "Watch tells nothing")
	}
	require.NoError(t, k.Close())
	select {
	case err := <-ended:
		require.ErrorIs(t, err, registrar.ErrClosed)
	case <-time.After(patience):
		t.Fatal("Watch goes on after Close")
	}
}
