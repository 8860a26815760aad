package middleware

import (
	"cmp"
	"context"
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// RateLimit is a flood guard: each source address has a bucket of Burst requests that fills again at Rate a second. What comes
// when it is empty gets 503 with Retry-After, or nothing. Copies of a request were absorbed before and do not count; ACK and CANCEL
// pass. Requests from one IPv6 /64 share a bucket. The zero value works; Refused counts. A RateLimit must not be copied after use
// and belongs to one chain.
type RateLimit struct {
	Rate    float64 // requests a second of one source; 50
	Burst   int     // at once; twice the Rate, and at least 32: a phone with a wrong password sends 16 REGISTERs in half a second
	Sources int     // addresses remembered, 24 bytes each, the one longest quiet forgotten first; 65536
	Silent  bool    // give no answer at all
	// Exempt are networks without a limit: gateways, other proxies.
	Exempt []netip.Prefix

	once    sync.Once
	base    time.Time
	gap     int64 // nanoseconds between requests at Rate
	slack   int64 // nanoseconds a bucket may run ahead
	exempt  *Prefixes
	buckets buckets
	refused atomic.Uint64
}

// Middleware is a sipproxy.Middleware.
func (l *RateLimit) Middleware(next sipproxy.Handler) sipproxy.Handler {
	l.once.Do(l.setup)
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.Method == sip.ACK || r.Method == sip.CANCEL || l.allows(r.Source.AddrPort.Addr()) {
			return next.ServeSIP(ctx, r)
		}
		l.refused.Add(1)
		return l.refuse(r)
	})
}

// Refused is the number of requests that found their bucket empty.
func (l *RateLimit) Refused() uint64 { return l.refused.Load() }

func (l *RateLimit) setup() {
	rate := l.Rate
	if rate <= 0 {
		rate = 50
	}
	burst := l.Burst
	if burst <= 0 {
		burst = max(32, int(2*rate))
	}
	l.base = time.Now()
	l.gap = max(1, int64(float64(time.Second)/rate))
	l.slack = int64(burst-1) * l.gap
	l.exempt = NewPrefixes(l.Exempt...)
	l.buckets.open(cmp.Or(max(0, l.Sources), 65536))
}

func (l *RateLimit) allows(a netip.Addr) bool {
	return len(l.Exempt) > 0 && l.exempt.Contains(a) || l.allow(a, l.now())
}

// now is the present as it was foreseeable at the start: a clock that is set back does not shut everybody out until it is where it was.
func (l *RateLimit) now() time.Time { return l.base.Add(time.Since(l.base)) }

func (l *RateLimit) allow(a netip.Addr, now time.Time) bool {
	return l.buckets.take(bucketKey(a), now.UnixNano(), l.gap, l.slack)
}

func (l *RateLimit) refuse(r *sipproxy.Request) *sip.Response {
	if l.Silent {
		return sipproxy.NoReply
	}
	res := r.Reply(503)
	res.Set("Retry-After", strconv.FormatInt(max(1, (l.gap+int64(time.Second)-1)/int64(time.Second)), 10))
	return res
}

// bucketKey is the address, or the /64 of an IPv6 address: one subscriber has all of it.
func bucketKey(a netip.Addr) [16]byte {
	k := a.Unmap().As16()
	if !a.Unmap().Is4() {
		clear(k[8:])
	}
	return k
}

const (
	bucketWays  = 8  // buckets among which a source finds its place
	bucketLocks = 64 // stripes
)

// buckets is a table of fixed size: sets of bucketWays buckets, the set chosen by a hash that nobody outside can guess.
type buckets struct {
	seed  maphash.Seed
	sets  []bucketSet
	locks [bucketLocks]sync.Mutex
}

// A bucket holds the instant at which it is full again: the generic cell rate form of the token bucket, one number a source.
type bucket struct {
	key  [16]byte
	full int64
}

// A bucketSet is where a source may have its bucket.
type bucketSet [bucketWays]bucket

func (t *buckets) open(sources int) {
	t.seed = maphash.MakeSeed()
	t.sets = make([]bucketSet, max(1, (sources+bucketWays-1)/bucketWays))
}

// take takes a token of the source and reports whether there was one.
func (t *buckets) take(key [16]byte, now, gap, slack int64) bool {
	i := maphash.Bytes(t.seed, key[:]) % uint64(len(t.sets))
	lock := &t.locks[i%bucketLocks]
	lock.Lock()
	defer lock.Unlock()
	b := t.sets[i].find(key)
	at := max(b.full, now)
	if at-now > slack {
		return false
	}
	b.full = at + gap
	return true
}

// find gives the bucket of the source; a new source takes over the one that has been full for longest.
func (s *bucketSet) find(key [16]byte) *bucket {
	oldest := &s[0]
	for i := range s {
		if s[i].key == key {
			return &s[i]
		}
		if s[i].full < oldest.full {
			oldest = &s[i]
		}
	}
	*oldest = bucket{key: key}
	return oldest
}
