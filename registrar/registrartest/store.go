package registrartest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// TestStore checks the contract of registrar.Store. open is called once a case and gives a store without bindings,
// or with none under the addresses the kit uses ("…@kit.example"); it also sees to it that the store is closed.
func TestStore(t *testing.T, open func(t *testing.T) registrar.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *kit)
	}{
		{"nothing there", testNothing},
		{"add, change, remove", testRoundTrip},
		{"several bindings keep their order", testOrder},
		{"looked up into the caller's memory", testAppend},
		{"every field, odd octets", testFields},
		{"odd addresses", testOddAORs},
		{"zero values", testZero},
		{"big values", testBig},
		{"too big is refused", testTooBig},
		{"an error of f aborts", testAbort},
		{"what f was given stays as it was", testReadOnly},
		{"what f returned is copied", testCopied},
		{"updates of one address are atomic", testAtomic},
		{"updates of many addresses do not meet", testMany},
		{"expired bindings are gone", testExpiry},
		{"a binding in the past is not stored", testPast},
		{"an expired binding may be registered again", testAgain},
		{"scan", testScan},
		{"scan stops", testScanStops},
		{"watch", testWatch},
		{"watch tells expiry", testWatchExpiry},
		{"watch ends", testWatchEnds},
		{"a cancelled context changes nothing", testCancelled},
		{"closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			c.run(t, &kit{Store: open(t), ctx: ctx})
		})
	}
}

// TestDurable checks that what an Update acknowledged is there after a restart. open is as in TestStore;
// reopen ends the store it is given as a restart does and opens it anew.
func TestDurable(t *testing.T, open func(t *testing.T) registrar.Store, reopen func(t *testing.T, s registrar.Store) registrar.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	k := &kit{Store: open(t), ctx: ctx}
	short := plain("short")
	short.Expires = time.Now().Add(time.Second)
	want := map[registrar.AOR][]registrar.Binding{
		"full@kit.example":   {full(), plain("second")},
		"big@kit.example":    {big()},
		odd + "@kit.example": {plain("odd")},
	}
	for aor, bs := range want {
		k.put(t, aor, plain("first"))
		k.put(t, aor, bs...)
	}
	k.put(t, "gone@kit.example", plain("gone"))
	k.put(t, "gone@kit.example")
	k.put(t, "short@kit.example", short)
	for range 2 {
		k.Store = reopen(t, k.Store)
		for aor, bs := range want {
			equal(t, bs, k.lookup(t, aor))
		}
		require.Empty(t, k.lookup(t, "gone@kit.example"))
		eventually(t, func() bool { return len(k.lookup(t, "short@kit.example")) == 0 })
	}
	k.put(t, "full@kit.example")
	k.Store = reopen(t, k.Store)
	require.Empty(t, k.lookup(t, "full@kit.example"))
}

type kit struct {
	registrar.Store
	ctx context.Context
}

func (k *kit) put(t testing.TB, aor registrar.AOR, bs ...registrar.Binding) {
	t.Helper()
	require.NoError(t, k.Update(k.ctx, aor, func([]registrar.Binding) ([]registrar.Binding, error) { return bs, nil }))
}

func (k *kit) lookup(t testing.TB, aor registrar.AOR) []registrar.Binding {
	t.Helper()
	bs, err := k.Lookup(k.ctx, aor)
	require.NoError(t, err)
	return bs
}

func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		require.True(t, time.Now().Before(end), "did not happen in %v", patience)
		time.Sleep(5 * time.Millisecond)
	}
}

// testAppend is for stores that are registrar.Appenders.
func testAppend(t *testing.T, k *kit) {
	a, ok := k.Store.(registrar.Appender)
	if !ok {
		t.Skip("the store is no registrar.Appender")
	}
	const aor = "jan@kit.example"
	before, first, second, other, gone := plain("before"), full(), plain("second"), plain("other"), plain("gone")
	gone.Expires = time.Now().Add(50 * time.Millisecond)
	k.put(t, aor, first, gone, second)
	k.put(t, "other@kit.example", other)
	eventually(t, func() bool { return len(k.lookup(t, aor)) == 2 })

	list, err := a.AppendLookup(k.ctx, []registrar.Binding{before}, aor)
	require.NoError(t, err)
	equal(t, []registrar.Binding{before, first, second}, list)
	kept := append([]registrar.Binding(nil), list[1:]...)
	again, err := a.AppendLookup(k.ctx, list[:0], "other@kit.example")
	require.NoError(t, err)
	equal(t, []registrar.Binding{other}, again)
	again, err = a.AppendLookup(k.ctx, again, "nobody@kit.example")
	require.NoError(t, err)
	equal(t, []registrar.Binding{other}, again)
	clear(list)
	equal(t, []registrar.Binding{first, second}, kept)
	equal(t, []registrar.Binding{first, second}, k.lookup(t, aor))
}

func testNothing(t *testing.T, k *kit) {
	require.Empty(t, k.lookup(t, "nobody@kit.example"))
	k.put(t, "nobody@kit.example")
	require.Empty(t, k.lookup(t, "nobody@kit.example"))
}

func testRoundTrip(t *testing.T, k *kit) {
	const aor = "jan@kit.example"
	b := plain("jan")
	k.put(t, aor, b)
	equal(t, []registrar.Binding{b}, k.lookup(t, aor))
	b.CSeq, b.Expires = 2, b.Expires.Add(time.Minute)
	require.NoError(t, k.Update(k.ctx, aor, func(old []registrar.Binding) ([]registrar.Binding, error) {
		require.Len(t, old, 1)
		require.EqualValues(t, 1, old[0].CSeq)
		return []registrar.Binding{b}, nil
	}))
	equal(t, []registrar.Binding{b}, k.lookup(t, aor))
	k.put(t, aor)
	require.Empty(t, k.lookup(t, aor))
}

func testOrder(t *testing.T, k *kit) {
	const aor = "order@kit.example"
	want := []registrar.Binding{plain("c"), plain("a"), plain("b")}
	k.put(t, aor, want...)
	equal(t, want, k.lookup(t, aor))
	k.put(t, aor, want[2], want[0])
	equal(t, []registrar.Binding{want[2], want[0]}, k.lookup(t, aor))
}

func testFields(t *testing.T, k *kit) {
	want := []registrar.Binding{full(), plain("next")}
	k.put(t, "full@kit.example", want...)
	equal(t, want, k.lookup(t, "full@kit.example"))
}

func testOddAORs(t *testing.T, k *kit) {
	aors := []registrar.AOR{odd + "@kit.example", "{x}@kit.example", "x}{@kit.example", "{}@kit.example", "*@kit.example",
		"a b@kit.example", "a:b@kit.example", "A@kit.example", "a@kit.example", "\x00@kit.example", "@kit.example"}
	for i, aor := range aors {
		k.put(t, aor, plain(fmt.Sprint(i)))
	}
	for i, aor := range aors {
		require.Equal(t, fmt.Sprint(i), k.lookup(t, aor)[0].Contact.User, "%q", aor)
	}
}

func testZero(t *testing.T, k *kit) {
	want := []registrar.Binding{{Expires: time.Now().Add(time.Minute)}}
	k.put(t, "zero@kit.example", want...)
	equal(t, want, k.lookup(t, "zero@kit.example"))
	want[0].Path, want[0].Methods = []string{}, nil
	k.put(t, "zero@kit.example", want...)
	require.Empty(t, k.lookup(t, "zero@kit.example")[0].Path)
	require.Nil(t, k.lookup(t, "zero@kit.example")[0].Methods, "no Allow is not an empty one")
}

func testBig(t *testing.T, k *kit) {
	want := []registrar.Binding{big(), plain("small"), big()}
	want[2].Contact.User = "other"
	k.put(t, "big@kit.example", want...)
	equal(t, want, k.lookup(t, "big@kit.example"))
	k.put(t, "big@kit.example", want[1])
	equal(t, want[1:2], k.lookup(t, "big@kit.example"))
}

func testTooBig(t *testing.T, k *kit) {
	const aor = "toobig@kit.example"
	k.put(t, aor, plain("before"))
	huge, long := plain("huge"), strings.Repeat("p", 1000)
	for range 2000 {
		huge.Path = append(huge.Path, long)
	}
	err := k.Update(k.ctx, aor, func([]registrar.Binding) ([]registrar.Binding, error) { return []registrar.Binding{huge}, nil })
	require.ErrorIs(t, err, registrar.ErrTooLarge)
	require.Equal(t, "before", k.lookup(t, aor)[0].Contact.User)
}

func testAbort(t *testing.T, k *kit) {
	const aor = "abort@kit.example"
	k.put(t, aor, plain("before"))
	refused := errors.New("refused")
	for range 3 {
		err := k.Update(k.ctx, aor, func(old []registrar.Binding) ([]registrar.Binding, error) { return nil, refused })
		require.Equal(t, refused, err)
	}
	require.Len(t, k.lookup(t, aor), 1)
	err := k.Update(k.ctx, "new@kit.example", func([]registrar.Binding) ([]registrar.Binding, error) {
		return []registrar.Binding{plain("x")}, refused
	})
	require.Equal(t, refused, err)
	require.Empty(t, k.lookup(t, "new@kit.example"))
}

func testReadOnly(t *testing.T, k *kit) {
	const aor = "readonly@kit.example"
	k.put(t, aor, full(), plain("two"))
	before := k.lookup(t, aor)
	first := full()
	first.Expires, first.Updated = before[0].Expires, before[0].Updated
	for i := range 50 {
		b := plain("two")
		b.CSeq = uint32(i + 10)
		k.put(t, aor, b)
		k.put(t, registrar.AOR(fmt.Sprint("other", i, "@kit.example")), b)
	}
	equal(t, []registrar.Binding{first}, before[:1])
}

func testCopied(t *testing.T, k *kit) {
	const aor = "copied@kit.example"
	b := full()
	bs := []registrar.Binding{b}
	k.put(t, aor, bs...)
	want := full()
	want.Expires, want.Updated = b.Expires, b.Updated
	b.Path[0], b.Methods[0], b.TempGRUUs[0], bs[0].CallID = "changed", "CHANGED", "changed", "changed"
	equal(t, []registrar.Binding{want}, k.lookup(t, aor))
}

func testAtomic(t *testing.T, k *kit) {
	const aor, workers, rounds = "atomic@kit.example", 8, 25
	k.put(t, aor, plain("counter"))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				err := k.Update(k.ctx, aor, func(old []registrar.Binding) ([]registrar.Binding, error) {
					next := append([]registrar.Binding(nil), old...)
					next[0].CSeq++
					if w%2 == 0 {
						return next, nil
					}
					return append(next, plain(fmt.Sprint(len(old)))), nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := k.lookup(t, aor)
	require.EqualValues(t, 1+workers*rounds, got[0].CSeq, "an update was lost")
	require.Len(t, got, 1+workers/2*rounds)
	for i, b := range got[1:] {
		require.Equal(t, fmt.Sprint(i+1), b.Contact.User)
	}
}

func testMany(t *testing.T, k *kit) {
	var wg sync.WaitGroup
	name := func(w, i int) string { return fmt.Sprintf("many-%d-%d", w, i) }
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				aor := registrar.AOR(name(w, i) + "@kit.example")
				err := k.Update(k.ctx, aor, func(old []registrar.Binding) ([]registrar.Binding, error) {
					return append([]registrar.Binding{plain(name(w, i))}, old...), nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for w := range 8 {
		for i := range 50 {
			got := k.lookup(t, registrar.AOR(name(w, i)+"@kit.example"))
			require.Len(t, got, 1)
			require.Equal(t, name(w, i), got[0].Contact.User)
		}
	}
}

func testExpiry(t *testing.T, k *kit) {
	const aor = "expiry@kit.example"
	short, long := plain("short"), plain("long")
	short.Expires = time.Now().Add(700 * time.Millisecond)
	k.put(t, aor, short, long)
	k.put(t, "alone@kit.example", short)
	eventually(t, func() bool { return !time.Now().Before(short.Expires) })
	equal(t, []registrar.Binding{long}, k.lookup(t, aor))
	require.Empty(t, k.lookup(t, "alone@kit.example"))
	require.NoError(t, k.Update(k.ctx, aor, func(old []registrar.Binding) ([]registrar.Binding, error) {
		require.Len(t, old, 1, "f was given an expired binding")
		return old, nil
	}))
	for a, bs := range k.Scan(k.ctx) {
		require.NotEqual(t, registrar.AOR("alone@kit.example"), a)
		if a == aor {
			require.Len(t, bs, 1)
		}
	}
}

func testPast(t *testing.T, k *kit) {
	const aor = "past@kit.example"
	past, zero := plain("past"), plain("zero")
	past.Expires, zero.Expires = time.Now().Add(-time.Second), time.Time{}
	k.put(t, aor, past, zero)
	require.Empty(t, k.lookup(t, aor))
	k.put(t, aor, past, plain("present"), zero)
	require.Len(t, k.lookup(t, aor), 1)
}

func testAgain(t *testing.T, k *kit) {
	const aor = "again@kit.example"
	b := plain("again")
	for range 3 {
		b.CSeq++
		b.Expires = time.Now().Add(150 * time.Millisecond)
		k.put(t, aor, b)
		eventually(t, func() bool { return len(k.lookup(t, aor)) == 0 })
	}
	b.Expires = time.Now().Add(time.Hour)
	k.put(t, aor, b)
	equal(t, []registrar.Binding{b}, k.lookup(t, aor))
}

func testScan(t *testing.T, k *kit) {
	const n = 500
	for i := range n {
		k.put(t, registrar.AOR(fmt.Sprintf("scan%d@kit.example", i)), plain(fmt.Sprint(i)))
	}
	k.put(t, "scan0@kit.example")
	seen := map[registrar.AOR]bool{}
	for aor, bs := range k.Scan(k.ctx) {
		var i int
		if _, err := fmt.Sscanf(string(aor), "scan%d@kit.example", &i); err != nil {
			continue
		}
		require.Len(t, bs, 1)
		require.Equal(t, fmt.Sprint(i), bs[0].Contact.User)
		seen[aor] = true
	}
	require.Len(t, seen, n-1)
}

func testScanStops(t *testing.T, k *kit) {
	for i := range 20 {
		k.put(t, registrar.AOR(fmt.Sprintf("stop%d@kit.example", i)), plain("x"))
	}
	n := 0
	for range k.Scan(k.ctx) {
		if n++; n == 3 {
			break
		}
	}
	require.Equal(t, 3, n)
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	n = 0
	for range k.Scan(ctx) {
		n++
		cancel()
	}
	require.Less(t, n, 20, "Scan went on without its context")
	for range k.Scan(k.ctx) { // a loop body may use the store
		require.NoError(t, k.Update(k.ctx, "stop0@kit.example", func(old []registrar.Binding) ([]registrar.Binding, error) { return old, nil }))
	}
}

func testCancelled(t *testing.T, k *kit) {
	const aor = "cancelled@kit.example"
	k.put(t, aor, plain("before"))
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	err := k.Update(ctx, aor, func([]registrar.Binding) ([]registrar.Binding, error) { return nil, nil })
	require.ErrorIs(t, err, context.Canceled)
	_, err = k.Lookup(ctx, aor)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, k.Watch(ctx, func(registrar.Event) {}), context.Canceled)
	require.Len(t, k.lookup(t, aor), 1)
}

func testClosed(t *testing.T, k *kit) {
	k.put(t, "closed@kit.example", plain("x"))
	require.NoError(t, k.Close())
	require.NoError(t, k.Close(), "Close twice")
	err := k.Update(k.ctx, "closed@kit.example", func([]registrar.Binding) ([]registrar.Binding, error) { return nil, nil })
	require.ErrorIs(t, err, registrar.ErrClosed)
	_, err = k.Lookup(k.ctx, "closed@kit.example")
	require.ErrorIs(t, err, registrar.ErrClosed)
	require.ErrorIs(t, k.Watch(k.ctx, func(registrar.Event) {}), registrar.ErrClosed)
	for range k.Scan(k.ctx) {
		t.Fatal("Scan of a closed store")
	}
}
