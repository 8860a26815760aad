package lines

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A slowly is a writer that waits until it is let go on.
type slowly struct {
	strings.Builder
	gate chan struct{}
}

func (w *slowly) Write(b []byte) (int, error) {
	<-w.gate
	return w.Builder.Write(b)
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowly{gate: make(chan struct{})}
		l := New(w)
		want := ""
		for i := range 100 { // nobody waits for the writer
			n, err := fmt.Fprintf(l, "line %d\n", i)
			require.NoError(t, err)
			want += fmt.Sprintf("line %d\n", i)
			require.NotZero(t, n)
		}
		large := strings.Repeat("x", maxWaiting)
		_, _ = l.Write([]byte(large))
		var writers sync.WaitGroup
		writers.Go(func() { _, _ = l.Write([]byte("end\n")) }) // but there is a bound
		synctest.Wait()
		close(w.gate)
		writers.Wait()
		require.NoError(t, l.Close())
		require.Equal(t, want+large+"end\n", w.String())
		_, err := l.Write([]byte("late"))
		require.Error(t, err)
	})
}

// A log that nobody reads does not hold up calls: its lines are dropped, and counted in it when it is read again.
func TestLinesUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowly{gate: make(chan struct{})}
		l := New(w)
		_, _ = l.Write([]byte("first\n"))
		synctest.Wait() // in hand
		large := strings.Repeat("x", maxWaiting) + "\n"
		_, _ = l.Write([]byte(large))
		start := time.Now()
		for range 500 {
			n, err := l.Write([]byte("lost\n"))
			require.NoError(t, err)
			require.Equal(t, 5, n)
		}
		require.Equal(t, patience, time.Since(start), "waited for once")
		w.gate <- struct{}{}
		synctest.Wait()
		_, _ = l.Write([]byte("last\n"))
		close(w.gate)
		require.NoError(t, l.Close())
		got := w.String()
		require.True(t, strings.HasPrefix(got, "first\n"+large))
		require.NotContains(t, got, "lost\nlost")
		require.Contains(t, got, "lines=500\n")
		require.True(t, strings.HasSuffix(got, "last\n"))
	})
}

// Nor does it keep the server from ending.
func TestLinesUnreadAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowly{gate: make(chan struct{})}
		l := New(w)
		_, _ = l.Write([]byte("last\n"))
		start := time.Now()
		require.ErrorIs(t, l.Close(), errUnread)
		require.Equal(t, patience, time.Since(start))
		close(w.gate)
		<-l.done
		require.Equal(t, "last\n", w.String())
	})
}
