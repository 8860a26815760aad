package dialog

import (
	"cmp"
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A Tracker follows dialogs. The zero value works. Fields must not change once it is in use; methods are safe for concurrent use. It owns
// no goroutine while no dialog expires, is probed or is ended, and need not be closed.
type Tracker struct {
	// OnEvent is told what happens to calls; nil: nobody is. It is called without locks, one event of a Call-ID and caller's tag at a time and in order. It
	// runs on the goroutine of the request that caused the event, so it must not wait: hand over what takes time.
	OnEvent func(Event)

	// Media, when set, gives the media counters for STOP, [0] what came from the caller. It is asked before the BYE goes on, at most for a second, and may wait.
	// Relay.Media of package rtprelay fits.
	Media func(ctx context.Context, callID, callerTag, calleeTag string) (packets, bytes, lost [2]uint64, jitter [2]time.Duration, ok bool)

	Max    int           // INVITEs in progress and dialogs held; beyond, new calls get 503 with Retry-After; 0: 250,000
	MaxAge time.Duration // age from the 2xx at which a dialog is over, whoever still talks; 0: 12 hours
	// Hangup sends BYE to both parties of a dialog that has expired. Else it is forgotten, which suits proxies without
	// Record-Route: they never see the BYE.
	Hangup bool
	// Probe asks both parties so often, by OPTIONS within the dialog, whether it lives; 0: never. One that answers 481, or does not answer twice
	// running, has ended it: STOP, and BYE to both. The OPTIONS has the CSeq that was seen last, so that the peer's next request is still in order.
	Probe time.Duration
	// RetryAfter is what callers beyond Max are told; 0: 30 s.
	RetryAfter time.Duration
	// EndCode is the response to the caller whose call is ended by End while it rings, 300 to 699; 0: 480. 487 says that it was cancelled.
	EndCode int

	// Light looks at the answer that the handler returns only. The proxy then relays responses without waking the handler, and the INVITE is not
	// kept for late answers; but there are no early dialogs, and of several 2xx one is followed.
	Light bool

	once   sync.Once
	base   time.Time
	seed   maphash.Seed
	shards [shardCount]shard
	work   workers

	held  atomic.Int64 // INVITEs in progress and dialogs
	count counters
}

const (
	defaultMax        = 250_000
	defaultAge        = 12 * time.Hour
	defaultRetryAfter = 30 * time.Second
	mediaWait         = time.Second
)

// An instant is nanoseconds since Tracker.base; 0: never.
type instant int64

func (t *Tracker) setup() {
	t.once.Do(func() {
		t.base = time.Now().Add(-1) // so that no instant is 0
		t.seed = maphash.MakeSeed()
		for i := range t.shards {
			t.shards[i].t = t
			t.shards[i].calls = make(map[string]*call)
		}
	})
}

func (t *Tracker) now() instant { return instant(time.Since(t.base)) }

// at is the instant as a time; zero for 0.
func (t *Tracker) at(i instant) time.Time {
	if i == 0 {
		return time.Time{}
	}
	return t.base.Add(time.Duration(i))
}

func (t *Tracker) max() int64            { return int64(cmp.Or(t.Max, defaultMax)) }
func (t *Tracker) maxAge() time.Duration { return cmp.Or(t.MaxAge, defaultAge) }

// Middleware is a sipproxy.Middleware.
func (t *Tracker) Middleware(next sipproxy.Handler) sipproxy.Handler {
	t.setup()
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		switch {
		case r.Method == sip.ACK:
			defer t.acknowledged(r)
		case r.Mode() != sipproxy.Stateful:
		case r.InDialog():
			return t.within(ctx, r, next)
		case r.Method == sip.INVITE:
			return t.invite(ctx, r, next)
		}
		return next.ServeSIP(ctx, r)
	})
}

// Busy reports whether calls are in progress; it fits sipproxy.Server.Busy.
func (t *Tracker) Busy() bool { return t.held.Load() > 0 }
