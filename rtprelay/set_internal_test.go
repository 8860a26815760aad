package rtprelay

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBindingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bindings{limit: 100, age: time.Hour}
		m := &member{}
		for i := range 10_000 {
			b.put(&Ref{CallID: fmt.Sprint(i)}, m)
			require.LessOrEqual(t, b.len(), 100)
		}
		require.Same(t, m, b.get(&Ref{CallID: "9999"}))
		require.Nil(t, b.get(&Ref{CallID: "9999", Leg: 1}))
		require.Nil(t, b.get(&Ref{CallID: "0"}))
		b.drop(&Ref{CallID: "9999"})
		require.Nil(t, b.get(&Ref{CallID: "9999"}))

		used, unused := &Ref{CallID: "used"}, &Ref{CallID: "unused"}
		b.put(used, m)
		b.put(unused, m)
		for range 10 {
			time.Sleep(50 * time.Minute)
			require.Same(t, m, b.get(used))
			b.put(&Ref{CallID: "traffic"}, m)
		}
		require.Nil(t, b.get(unused))
		require.LessOrEqual(t, b.len(), 3)
	})
}

func BenchmarkSetRanked(b *testing.B) {
	s := &Set{}
	for i := range 8 {
		s.Members = append(s.Members, Member{Name: fmt.Sprint(i), Engine: &NG{}})
	}
	require.NoError(b, s.setup())
	b.ReportAllocs()
	for b.Loop() {
		s.ranked("a84b4c76e66710@pc33.atlanta.com")
	}
}
