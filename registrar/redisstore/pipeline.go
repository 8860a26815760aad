package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sipkit/sipkit/registrar"
)

// maxBatch bounds the operations of one trip, and with it what one slow answer holds up.
const maxBatch = 256

// swapScript replaces KEYS[1] if it still has the version ARGV[1] ("": absent) and publishes the change.
// ARGV: expected version, new value ("": remove), milliseconds until it expires, channel, head of the event.
// It answers 1, or the value that is there instead. Numbers are texts, which Lua need not format.
const swapScript = `
local call = redis.call
if call('GETRANGE', KEYS[1], '0', '7') ~= ARGV[1] then
	return call('GET', KEYS[1]) or ''
end
if ARGV[2] == '' then
	call('DEL', KEYS[1])
else
	call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
call('PUBLISH', ARGV[4], ARGV[5] .. ARGV[2])
return 1`

// An op is one command on its way: GET, or the script.
type op struct {
	key         string
	swap        bool
	expect      string
	value, head []byte
	life        int64 // milliseconds
	begun       time.Time

	reply value
	err   error
	done  chan struct{}
}

var dones = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

func newOp(key string) *op {
	return &op{key: key, begun: time.Now(), done: dones.Get().(chan struct{})}
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", registrar.ErrUnavailable, err) }

var (
	errPaused = errors.New("redis is away")
	errWaited = errors.New("redis is too slow for what is asked of it")
	errQueue  = errors.New("too many operations are waiting for redis")
)

// A lane carries the operations of one group of slots.
type lane struct {
	queue   chan *op
	breaker breaker
}

func newLane(queue int, pause time.Duration) *lane {
	return &lane{queue: make(chan *op, queue), breaker: breaker{pause: pause, base: time.Now()}}
}

// do queues o and waits for its answer.
func (s *Store) do(ctx context.Context, o *op) (value, error) {
	v, err := s.queued(ctx, o)
	if err != nil && errors.Is(err, registrar.ErrUnavailable) {
		s.stats.unavailable.Add(1)
	}
	return v, err
}

func (s *Store) queued(ctx context.Context, o *op) (value, error) {
	l := s.lanes[s.group(o.key)]
	if l.breaker.open(o.begun) {
		return "", unavailable(errPaused)
	}
	select {
	case l.queue <- o:
	default:
		return "", unavailable(errQueue)
	}
	select {
	case <-o.done:
		dones.Put(o.done)
		return o.reply, o.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-s.ctx.Done():
		return "", registrar.ErrClosed
	}
}

// work carries operations to the server, as many at a time as have come meanwhile.
func (s *Store) work(l *lane) {
	w := worker{store: s, lane: l, script: redis.NewScript(swapScript).Hash()}
	for {
		select {
		case <-s.ctx.Done():
			return
		case o := <-l.queue:
			w.batch = w.batch[:0]
			now := time.Now()
			w.add(o, now)
			w.gather(now)
		}
		if len(w.batch) > 0 {
			w.scriptFirst()
			w.trip()
		}
		clear(w.batch)
	}
}

type worker struct {
	store  *Store
	lane   *lane
	script string
	batch  []*op
	cmds   []redis.Cmder
}

func (w *worker) gather(now time.Time) {
	for len(w.batch) < maxBatch {
		select {
		case o := <-w.lane.queue:
			w.add(o, now)
		default:
			return
		}
	}
}

// add refuses what has waited too long already.
func (w *worker) add(o *op, now time.Time) {
	if now.Sub(o.begun) < w.store.cfg.Timeout {
		w.batch = append(w.batch, o)
		return
	}
	o.err = unavailable(errWaited)
	o.done <- struct{}{}
}

// scriptFirst begins the batch with the script, if it is there: go-redis looks at the first answer only to find that
// the server has become a replica, and then gives up the connection.
func (w *worker) scriptFirst() {
	if i := slices.IndexFunc(w.batch, func(o *op) bool { return o.swap }); i > 0 {
		w.batch[0], w.batch[i] = w.batch[i], w.batch[0]
	}
}

// trip sends the batch and hands out the answers.
func (w *worker) trip() {
	s := w.store
	if !w.lane.breaker.enter(time.Now()) {
		w.finish(unavailable(errPaused))
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeout)
	defer cancel()
	s.stats.trips.Add(1)
	s.stats.ops.Add(uint64(len(w.batch)))
	pipe := s.client.Pipeline()
	w.cmds = w.cmds[:0]
	for _, o := range w.batch {
		w.cmds = append(w.cmds, w.command(ctx, pipe, o, w.script))
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	w.reload(ctx)
	failed := 0
	for i, o := range w.batch {
		o.reply, o.err = answer(w.cmds[i])
		if o.err != nil && lost(w.cmds[i].Err()) {
			failed++
		}
	}
	if failed == len(w.batch) {
		if s.ctx.Err() == nil && w.lane.breaker.trip(time.Now()) {
			s.cfg.Logger.Warn("redisstore: redis cannot be reached", "error", w.cmds[0].Err())
		}
	} else if w.lane.breaker.close() {
		s.cfg.Logger.Info("redisstore: redis is back")
	}
	clear(w.cmds)
	w.finish(nil)
}

// finish lets the waiting go on, with err if it is not nil.
func (w *worker) finish(err error) {
	for _, o := range w.batch {
		if err != nil {
			o.err = err
		}
		o.done <- struct{}{}
	}
}

func (w *worker) command(ctx context.Context, pipe redis.Pipeliner, o *op, sha string) redis.Cmder {
	if !o.swap {
		return pipe.Get(ctx, o.key)
	}
	keys := []string{o.key}
	if sha == "" {
		return pipe.Eval(ctx, swapScript, keys, o.expect, o.value, o.life, w.store.channels[w.store.group(o.key)], o.head)
	}
	return pipe.EvalSha(ctx, sha, keys, o.expect, o.value, o.life, w.store.channels[w.store.group(o.key)], o.head)
}

// reload sends the script itself for those who found it missing: the server is new to us or has been restarted.
func (w *worker) reload(ctx context.Context) {
	var pipe redis.Pipeliner
	for i, o := range w.batch {
		if err := w.cmds[i].Err(); err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
			continue
		}
		if pipe == nil {
			pipe = w.store.client.Pipeline()
		}
		w.cmds[i] = w.command(ctx, pipe, o, "")
	}
	if pipe != nil {
		_, _ = pipe.Exec(ctx)
	}
}

func answer(c redis.Cmder) (value, error) {
	err := c.Err()
	switch c := c.(type) {
	case *redis.StringCmd:
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		if err == nil {
			return value(c.Val()), nil
		}
	case *redis.Cmd:
		if err != nil {
			break
		}
		if v, ok := c.Val().(string); ok {
			return value(v), nil
		}
		return swapped, nil
	}
	return "", unavailable(err)
}

// lost tells failures of the connection or the whole server from those of one command.
func lost(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true
	}
	for _, p := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "NOAUTH", "WRONGPASS"} {
		if strings.HasPrefix(reply.Error(), p) {
			return true
		}
	}
	return false
}

// A breaker keeps everybody from waiting for a server that is known to be away. After each pause one trip tries.
type breaker struct {
	pause time.Duration
	base  time.Time    // instants are counted from here, by the clock that nobody sets
	until atomic.Int64 // 0: closed
}

func (b *breaker) at(now time.Time) int64 { return int64(now.Sub(b.base)) }

// open reports whether nothing may be tried now.
func (b *breaker) open(now time.Time) bool { return b.at(now) < b.until.Load() }

// enter is open for those who are about to try: only one of them gets through when the pause is over.
func (b *breaker) enter(now time.Time) bool {
	u := b.until.Load()
	switch {
	case u == 0:
		return true
	case b.at(now) < u:
		return false
	}
	return b.until.CompareAndSwap(u, b.at(now.Add(b.pause)))
}

// trip reports whether it was closed before.
func (b *breaker) trip(now time.Time) bool {
	return b.until.Swap(b.at(now.Add(b.pause))) == 0
}

// close reports whether it was open before.
func (b *breaker) close() bool { return b.until.Load() != 0 && b.until.Swap(0) != 0 }
