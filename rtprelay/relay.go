package rtprelay

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A Relay is a link of the handler chain that sends the media of calls through an Engine: it finds the offers and answers (RFC 3264) in INVITE, its
// responses, ACK, PRACK and UPDATE, in either direction, rewrites them, and deletes the session when the call has failed or is over. Each branch of a fork
// has a session of its own. An offer within a call that is refused is taken back at the engine, by what was agreed on before. Place it before recordroute, so that it sees requests in dialogs too.
//
// The zero value relays all calls with an Embedded of its own. Fields must not change once it is in use; methods are safe for concurrent use.
type Relay struct {
	Engine Engine // nil: an Embedded with its defaults, whose time-outs go to OnTimeout

	// When and WhenBranch choose the calls: an INVITE outside a dialog that either wants. A call once chosen is relayed to its end. Both nil: all calls.
	When       func(*sipproxy.Request) bool
	WhenBranch func(*sipproxy.Branch) bool

	// Options gives those for a description of the caller or the callee; nil: the zero Options. b is the branch it travels on.
	Options func(b *sipproxy.Branch, fromCaller bool) Options
	Group   func(*sipproxy.Request) int // Ref.Group of a call; nil: 0
	// Bridge carries media between IPv4 and IPv6 when the messages of one party come over the one and those of the other over the other. The engine needs
	// addresses of both. Options that name a family or interface come first.
	Bridge bool

	// Pass lets an offer go on unchanged when the engine fails. By default the request is refused with Code.
	// An answer that the engine fails on is passed unchanged in any case, the other party having agreed already: see OnFailure.
	Pass bool
	Code int // 0: 503
	// OnFailure is told of every description that was to be relayed and was not, because the engine failed. With ToTag set it went on unchanged, and the call with it,
	// half of its media nowhere: dialog.Tracker.End ends it, answered or not. Without, the request was refused. It must not wait.
	OnFailure func(Ref, error)
	// OnTimeout is told of calls whose media have stopped, after TimedOut or StreamTimedOut has been. It runs on the goroutine of the engine and must not wait.
	OnTimeout func(Ref)

	Wait   time.Duration // bound on the wait for the engine, each time; 0: 5 s
	Max    int           // legs held; beyond, a call is refused as if the engine had failed; 0: 250,000
	MaxAge time.Duration // a leg that nobody mentioned for so long is forgotten; 0: 12 hours

	// MusicOnHold is the file that a party hears while the other one has put it on hold by a re-INVITE or UPDATE; "": none. The engine must be a Player.
	MusicOnHold string
	// Record says which calls to record from their 2xx on; nil: none. The engine must be a Recorder.
	Record func(*sipproxy.Request) bool

	once   sync.Once
	engine Engine
	own    *Embedded // Engine was nil

	mu    sync.Mutex
	calls map[string]*relayLeg // by Call-ID; more in relayLeg.next
	held  int
	list  relayLeg // head of all legs, the one mentioned last first

	count relayCounters
}

const (
	defaultRelayCode = 503
	defaultRelayWait = 5 * time.Second
	defaultRelayMax  = 250_000
	defaultRelayAge  = 12 * time.Hour
)

func (rl *Relay) setup() {
	rl.once.Do(func() {
		rl.calls = make(map[string]*relayLeg)
		rl.list.older, rl.list.newer = &rl.list, &rl.list
		if rl.engine = rl.Engine; rl.engine == nil {
			rl.own = &Embedded{OnTimeout: rl.TimedOut}
			rl.engine = rl.own
		}
	})
}

// Close closes the engine that the Relay made for itself; others are their owner's.
func (rl *Relay) Close() error {
	rl.setup()
	if rl.own != nil {
		return rl.own.Close()
	}
	return nil
}

// Middleware is a sipproxy.Middleware.
func (rl *Relay) Middleware(next sipproxy.Handler) sipproxy.Handler {
	rl.setup()
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		switch {
		case r.Mode() != sipproxy.Stateful && r.Method != sip.ACK:
		case r.InDialog():
			return rl.within(ctx, r, next)
		case r.Method == sip.INVITE:
			return rl.invite(ctx, r, next)
		}
		return next.ServeSIP(ctx, r)
	})
}

// Media gives the counters of a call that is relayed here, [0] what came from the caller; tags in this order. ok is false when it is not, or the engine cannot tell. It
// fits dialog.Tracker.Media.
func (rl *Relay) Media(ctx context.Context, callID, callerTag, calleeTag string) (packets, bytes, lost [2]uint64, jitter [2]time.Duration, ok bool) {
	rl.setup()
	rl.mu.Lock()
	l, _ := rl.find(callID, callerTag, calleeTag)
	if l == nil {
		rl.mu.Unlock()
		return
	}
	ref := l.ref()
	rl.mu.Unlock()
	st, err := rl.engine.Query(ctx, ref)
	return st.Packets, st.Bytes, st.Lost, st.Jitter, err == nil
}

func (rl *Relay) code() int { return cmp.Or(rl.Code, defaultRelayCode) }

// budget is a context for one wait for the engine. It holds nothing of the request, which engines must not touch; it ends with ctx.
func (rl *Relay) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	c, cancel := context.WithTimeout(context.Background(), cmp.Or(rl.Wait, defaultRelayWait))
	stop := context.AfterFunc(ctx, cancel)
	return c, func() { stop(); cancel() }
}
