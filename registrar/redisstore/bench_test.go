package redisstore

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
)

// BenchmarkUpdate measures refreshes from one process with redis-server on the same machine: updates a second, the 99th percentile of
// how long one takes, and the operations a trip. SIPKIT_CALLERS is how many wait at a time (default 128). Those names with a rate begin
// that many a second, whether the ones before are done or not, and count from when each was due: the time without it is that of an
// overload, for the callers do nothing but wait for each other.
func BenchmarkUpdate(b *testing.B) {
	for _, c := range []struct {
		name            string
		cacheSize, rate int
	}{
		{"cached", 1 << 17, 0}, {"cached/20000", 1 << 17, 20_000},
		{"uncached", -1, 0}, {"uncached/20000", -1, 20_000},
	} {
		b.Run(c.name, func(b *testing.B) { benchUpdate(b, c.cacheSize, c.rate) })
	}
}

func benchUpdate(b *testing.B, cacheSize, rate int) {
	const aors = 20_000
	callers := 128
	if rate > 0 {
		callers = 1024
	}
	_, _ = fmt.Sscan(os.Getenv("SIPKIT_CALLERS"), &callers)
	srv := startServer(b)
	s := srv.open(b, Config{CacheSize: cacheSize})
	waitFor(b, func() bool { return s.Stats().Connected })
	one := func(i int) error {
		return s.Update(b.Context(), registrar.AOR(fmt.Sprintf("user-with-a-number-%08d@registrar.domain.example.org", i%aors)),
			func(old []registrar.Binding) ([]registrar.Binding, error) {
				x := registrar.Binding{
					Contact: sip.URI{Scheme: "sip", User: fmt.Sprintf("user-with-a-number-%08d", i%aors), Host: "192.0.2.1", Port: 5060, Params: ";transport=udp"},
					CallID:  "f81d4fae7dec11d0a76500a0c91e6bf6", UserAgent: "Deskphone X200/4.1.7-build 20231", Expires: time.Now().Add(time.Hour),
				}
				if len(old) > 0 {
					x.CSeq = old[0].CSeq + 1
				}
				return []registrar.Binding{x}, nil
			})
	}
	run := func(n, rate int) []time.Duration {
		var mu sync.Mutex
		var wg sync.WaitGroup
		var all []time.Duration
		due := make(chan turn, 1024)
		go pace(due, n, rate)
		for range callers {
			wg.Go(func() {
				var mine []time.Duration
				for x := range due {
					if rate == 0 {
						x.begin = time.Now()
					}
					if err := one(x.i); err != nil {
						b.Error(err)
					}
					mine = append(mine, time.Since(x.begin))
				}
				mu.Lock()
				all = append(all, mine...)
				mu.Unlock()
			})
		}
		wg.Wait()
		return all
	}
	run(aors, 0)
	runtime.GC()
	b.ResetTimer()
	ours, theirs := cpuTime(b), redisCPU(b, srv)
	start := time.Now()
	took := run(b.N, rate)
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "updates/s")
	b.ReportMetric((cpuTime(b)-ours)/float64(b.N)*1e6, "cpu-us/op")
	b.ReportMetric((redisCPU(b, srv)-theirs)/float64(b.N)*1e6, "redis-cpu-us/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(s.Stats().Operations)/float64(max(1, s.Stats().Trips)), "ops/trip")
}

type turn struct {
	i     int
	begin time.Time
}

// pace gives n turns, rate a second; 0: as fast as they are taken.
func pace(due chan<- turn, n, rate int) {
	defer close(due)
	start := time.Now()
	for i := range n {
		x := turn{i: i}
		if rate > 0 {
			x.begin = start.Add(time.Duration(i) * time.Second / time.Duration(rate))
			if d := time.Until(x.begin); d > 0 {
				time.Sleep(max(d, time.Millisecond))
			}
		}
		due <- x
	}
}

// cpuTime is what this process has used, in seconds.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func redisCPU(b *testing.B, srv *server) (sum float64) {
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(redisInfo(b, srv, "cpu", name), 64)
		require.NoError(b, err)
		sum += v
	}
	return sum
}
