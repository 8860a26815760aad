package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sipkit/sipkit/registrar"
)

const (
	maxState = 1 << 20
	// stateRoom is enough for what one phone registers.
	stateRoom = 384
	maxAOR    = 64 << 10
	// keySlack keeps a key a little longer than its bindings: the server's clock may be ahead of ours.
	keySlack = 30 * time.Second
	// maxTries bounds how often an Update meets another's.
	maxTries = 1000
)

// A Store is a registrar.Store in Redis. All methods are safe for concurrent use.
type Store struct {
	cfg      Config
	client   redis.UniversalClient
	lanes    []*lane  // by group of slots
	channels []string // the same
	cache    *cache
	hub      hub
	origin   uint64 // tells our own changes from those of other nodes

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	workers sync.WaitGroup
	stats   counters
}

type counters struct {
	trips, ops, conflicts, unavailable, hits, stale, dropped atomic.Uint64
}

// Stats are counts since New.
type Stats struct {
	Trips         uint64 // pipelines sent
	Operations    uint64 // commands in them
	Conflicts     uint64 // Updates that met another's and ran again
	Unavailable   uint64 // operations that gave ErrUnavailable
	CacheHits     uint64 // Lookups and Updates that began from the cache
	Stale         uint64 // Lookups answered from the cache because Redis was away
	EventsDropped uint64 // changes that a watcher was too slow for
	Connected     bool   // changes are being heard
}

// New makes a Store. It does not wait for the server, which may come later. The error is one of the configuration.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if cfg.Timeout < 0 || cfg.Pause < 0 || cfg.Pipelines < 0 || cfg.Queue < 0 || cfg.CacheAge < 0 || cfg.EventQueue < 0 {
		return nil, errors.New("redisstore: negative value in Config")
	}
	if o := &cfg.Options; o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
		return nil, errors.New("redisstore: replicas may not be read: they are behind what the cache has heard")
	}
	if cfg.Options.MasterName != "" && cfg.Options.IsClusterMode {
		return nil, errors.New("redisstore: a Cluster has no Sentinels")
	}
	s := &Store{cfg: cfg, client: redis.NewUniversalClient(&cfg.Options), cache: newCache(cfg.CacheSize, cfg.CacheAge), origin: rand.Uint64()}
	n := cfg.groups()
	s.channels = channels(cfg.Prefix, n)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for range n {
		l := newLane((cfg.Queue+n-1)/n, cfg.Pause)
		s.lanes = append(s.lanes, l)
		for range cfg.Pipelines {
			s.workers.Go(func() { s.work(l) })
		}
	}
	s.workers.Go(s.listen)
	return s, nil
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Trips: c.trips.Load(), Operations: c.ops.Load(), Conflicts: c.conflicts.Load(), Unavailable: c.unavailable.Load(),
		CacheHits: c.hits.Load(), Stale: c.stale.Load(), EventsDropped: c.dropped.Load(), Connected: s.cache.connected(),
	}
}

// Close ends every Watch and what is under way with registrar.ErrClosed.
func (s *Store) Close() error {
	if s.ctx.Err() != nil {
		return nil //nolint:nilerr // closed already
	}
	s.cancel()
	err := s.client.Close()
	s.workers.Wait()
	return err
}

func (s *Store) ready(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return registrar.ErrClosed
	}
	return ctx.Err()
}

// A value is what a key holds: a version of eight random octets and the packed bindings. "": no key.
type value string

const versionLen = 8

func (v value) version() string { return string(v[:min(versionLen, len(v))]) }

// bindings returns those that expire after now.
func (v value) bindings(now time.Time) ([]registrar.Binding, error) {
	if len(v) < versionLen {
		return nil, nil
	}
	bs, err := registrar.DecodeBindings(string(v[versionLen:]))
	if err != nil {
		return nil, err
	}
	return live(bs, now), nil
}

func live(bs []registrar.Binding, now time.Time) []registrar.Binding {
	for i := range bs {
		if !bs[i].Expires.After(now) {
			return filter(bs, now)
		}
	}
	return bs
}

func filter(bs []registrar.Binding, now time.Time) (out []registrar.Binding) {
	for i := range bs {
		if bs[i].Expires.After(now) {
			out = append(out, bs[i])
		}
	}
	return out
}

func (s *Store) key(aor registrar.AOR) string { return s.cfg.Prefix + "{" + string(aor) + "}" }

func (s *Store) aor(key string) (registrar.AOR, bool) {
	k, ok1 := strings.CutPrefix(key, s.cfg.Prefix+"{")
	k, ok2 := strings.CutSuffix(k, "}")
	return registrar.AOR(k), ok1 && ok2
}

// Update implements registrar.Store. f runs first on what the cache holds, if anything, and again on what Redis holds when that was
// out of date, also when it made f fail. After registrar.ErrUnavailable the change may have been made all the same.
func (s *Store) Update(ctx context.Context, aor registrar.AOR, f func(old []registrar.Binding) ([]registrar.Binding, error)) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if len(aor) > maxAOR {
		return registrar.ErrTooLarge
	}
	cur, guess := s.cache.fresh(aor)
	if guess {
		s.stats.hits.Add(1)
	} else {
		cur = unknown
	}
	for range maxTries {
		var err error
		if cur == unknown {
			if cur, err = s.get(ctx, aor); err != nil {
				return err
			}
		}
		now := time.Now()
		old, err := cur.bindings(now)
		if err != nil {
			return err
		}
		next, err := f(old)
		next = live(next, now)
		idle := err != nil || len(next) == 0 && cur == ""
		if idle && guess { // only Redis knows
			cur, guess = unknown, false
			s.cache.drop(aor)
			continue
		}
		if idle {
			return err
		}
		if cur, err = s.swap(ctx, aor, cur, old, next, now); err != nil || cur == swapped {
			return err
		}
		guess = false
		s.stats.conflicts.Add(1)
	}
	return fmt.Errorf("%w: %d other updates of the same address came first", registrar.ErrUnavailable, maxTries)
}

// No value looks like these.
const (
	unknown value = "?"
	swapped value = "!"
)

// swap replaces cur; it returns swapped, or what is there instead.
func (s *Store) swap(ctx context.Context, aor registrar.AOR, cur value, old, next []registrar.Binding, now time.Time) (value, error) {
	version := newVersion()
	var state []byte
	if len(next) > 0 {
		state = registrar.AppendBindings(append(make([]byte, 0, stateRoom), version...), next)
	}
	if len(state) > versionLen+maxState {
		return "", registrar.ErrTooLarge
	}
	last := now
	for i := range next {
		if next[i].Expires.After(last) {
			last = next[i].Expires
		}
	}
	o := newOp(s.key(aor))
	o.swap = true
	o.expect, o.value = cur.version(), state
	o.life = (last.Sub(now) + keySlack).Milliseconds()
	o.head = appendHead(make([]byte, 0, stateRoom), s.origin, aor, registrar.Changes(aor, old, next, now), next)
	t := s.cache.begin(aor, version)
	reply, err := s.do(ctx, o)
	switch {
	case err != nil:
		s.cache.doubt(aor, version)
		return "", err
	case reply == swapped || reply.version() == version: // the latter: the first answer was lost on the way
		s.cache.settle(aor, version, value(state), t)
		return swapped, nil
	}
	s.cache.refused(aor, version)
	return reply, nil
}

func newVersion() string {
	v := rand.Uint64()
	return string([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24), byte(v >> 32), byte(v >> 40), byte(v >> 48), byte(v >> 56)})
}

// get asks Redis and teaches the cache.
func (s *Store) get(ctx context.Context, aor registrar.AOR) (value, error) {
	ticket := s.cache.ticket(aor)
	v, err := s.do(ctx, newOp(s.key(aor)))
	if err == nil {
		s.cache.fill(aor, v, ticket)
	}
	return v, err
}

// Lookup implements registrar.Store.
func (s *Store) Lookup(ctx context.Context, aor registrar.AOR) ([]registrar.Binding, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	v, ok := s.cache.fresh(aor)
	if ok {
		s.stats.hits.Add(1)
		return v.bindings(time.Now())
	}
	v, err := s.get(ctx, aor)
	if errors.Is(err, registrar.ErrUnavailable) {
		if v, ok = s.cache.stale(aor); !ok {
			return nil, err
		}
		s.stats.stale.Add(1)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return v.bindings(time.Now())
}

// scanBatch is how many keys one step of Scan asks for.
const scanBatch = 256

// Scan implements registrar.Store. It ends early when Redis cannot be reached. An address may come twice, as SCAN has it.
func (s *Store) Scan(ctx context.Context) iter.Seq2[registrar.AOR, []registrar.Binding] {
	return func(yield func(registrar.AOR, []registrar.Binding) bool) {
		for _, node := range s.nodes(ctx) {
			var cursor uint64
			for {
				if s.ready(ctx) != nil {
					return
				}
				keys, next, err := node.Scan(ctx, cursor, glob(s.cfg.Prefix)+"{*}", scanBatch).Result()
				if err != nil || !s.scanKeys(ctx, node, keys, yield) {
					return
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
		}
	}
}

// nodes are those that hold keys.
func (s *Store) nodes(ctx context.Context) []redis.Cmdable {
	c, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []redis.Cmdable{s.client}
	}
	var mu sync.Mutex
	var l []redis.Cmdable
	_ = c.ForEachMaster(ctx, func(_ context.Context, n *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		l = append(l, n)
		return nil
	})
	return l
}

func (s *Store) scanKeys(ctx context.Context, node redis.Cmdable, keys []string, yield func(registrar.AOR, []registrar.Binding) bool) bool {
	if len(keys) == 0 {
		return true
	}
	pipe := node.Pipeline()
	values := make([]*redis.StringCmd, len(keys))
	for i, k := range keys {
		values[i] = pipe.Get(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return false
	}
	for i, k := range keys {
		aor, ok := s.aor(k)
		bs, err := value(values[i].Val()).bindings(time.Now())
		if !ok || err != nil || len(bs) == 0 {
			continue
		}
		if s.ready(ctx) != nil || !yield(aor, bs) {
			return false
		}
	}
	return true
}

// glob quotes what MATCH would not take literally.
func glob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
