package middleware

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The table never grows, and a flood from many addresses harms nobody who was there lately.
func TestBucketsAreBounded(t *testing.T) {
	l := &RateLimit{Rate: 10, Burst: 1, Sources: 1024}
	l.setup()
	require.Len(t, l.buckets.sets, 128)
	now := time.Unix(1000, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		var b [4]byte
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		l.allow(netip.AddrFrom4(b), now)
	}
	require.Len(t, l.buckets.sets, 128)
}

func TestBucketKeys(t *testing.T) {
	key := func(s string) [16]byte { return bucketKey(netip.MustParseAddr(s)) }
	require.Equal(t, key("2001:db8::1"), key("2001:db8::ffff:1"))
	require.NotEqual(t, key("2001:db8::1"), key("2001:db8:0:1::1"))
	require.Equal(t, key("192.0.2.1"), key("::ffff:192.0.2.1"))
	require.NotEqual(t, key("192.0.2.1"), key("192.0.2.2"))
}

// Over any time a source gets Burst and then Rate a second, no more.
func TestRateHolds(t *testing.T) {
	l := &RateLimit{Rate: 5, Burst: 7}
	l.setup()
	a, passed := netip.MustParseAddr("192.0.2.1"), 0
	for ms := range 10_000 {
		if l.allow(a, time.UnixMilli(int64(1_000_000+ms))) {
			passed++
		}
	}
	require.InDelta(t, 7+5*10, passed, 1)
}

func BenchmarkRateLimit(b *testing.B) {
	l := &RateLimit{}
	l.setup()
	a, now := netip.MustParseAddr("192.0.2.1"), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.allow(a, now)
	}
}
