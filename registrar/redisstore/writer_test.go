package redisstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
)

// A writer refreshes one binding without end, by a Store of its own.
type writer struct {
	store        *Store
	aor          registrar.AOR
	acknowledged atomic.Uint32 // CSeq of the last Update that succeeded
	replicated   atomic.Uint32 // the replica is known to have this
	lost         atomic.Bool   // it had not
}

func (w *writer) run(stop *atomic.Bool) {
	for i := uint32(1); !stop.Load(); i++ {
		least := w.replicated.Load()
		err := w.store.Update(context.Background(), w.aor, func(old []registrar.Binding) ([]registrar.Binding, error) {
			if least > 0 && (len(old) == 0 || old[0].CSeq < least) {
				w.lost.Store(true)
			}
			return []registrar.Binding{binding("w", i)}, nil
		})
		if err == nil {
			w.acknowledged.Store(i)
		}
	}
}

type writers struct {
	list []*writer
	stop atomic.Bool
	wg   sync.WaitGroup
}

// startWriters has one writer for each address; they end with the test at the latest.
func startWriters(t *testing.T, cfg Config, aors ...registrar.AOR) *writers {
	t.Helper()
	l := new(writers)
	t.Cleanup(l.end)
	for _, aor := range aors {
		w := &writer{store: open(t, cfg), aor: aor}
		waitFor(t, func() bool { return w.store.Stats().Connected })
		l.list = append(l.list, w)
		l.wg.Go(func() { w.run(&l.stop) })
	}
	return l
}

func (l *writers) end() {
	l.stop.Store(true)
	l.wg.Wait()
}

func (l *writers) all(f func(*writer) bool) bool {
	for _, w := range l.list {
		if !f(w) {
			return false
		}
	}
	return true
}

// replicateTo finds out what the replica of master has, until master is gone: WAIT is told when it has all that was written before.
func (l *writers) replicateTo(master *server) (done <-chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c := redis.NewClient(&redis.Options{Addr: master.addr(), MaxRetries: -1})
		defer func() { _ = c.Close() }()
		acknowledged := make([]uint32, len(l.list))
		for {
			for i, w := range l.list {
				acknowledged[i] = w.acknowledged.Load()
			}
			pipe := c.Pipeline()
			pipe.Set(context.Background(), "mark:{"+string(l.list[0].aor)+"}", 1, 0) // a slot of this master
			n := pipe.Do(context.Background(), "WAIT", 1, 1000)
			if _, err := pipe.Exec(context.Background()); err != nil {
				return
			}
			if k, _ := n.Int(); k < 1 {
				continue
			}
			for i, w := range l.list {
				w.replicated.Store(acknowledged[i])
			}
		}
	}()
	return gone
}

// goOn waits until all have written a good deal more and hear the changes of others.
func (l *writers) goOn(t *testing.T) {
	t.Helper()
	for _, w := range l.list {
		n := w.acknowledged.Load()
		waitFor(t, func() bool { return w.acknowledged.Load() > n+50 && w.store.Stats().Connected })
	}
}

// check ends the writers. What they had acknowledged since the last failure is there, in the eyes of all.
func (l *writers) check(t *testing.T) {
	t.Helper()
	l.end()
	for _, w := range l.list {
		require.False(t, w.lost.Load(), "less was there than the replica had confirmed")
		for _, other := range l.list {
			waitFor(t, func() bool { return cseq(t, other.store, string(w.aor)) >= w.acknowledged.Load() })
		}
	}
}

// redisInfo is one value of INFO.
func redisInfo(t testing.TB, s *server, section, name string) string {
	t.Helper()
	for line := range strings.Lines(s.do("INFO", section)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
