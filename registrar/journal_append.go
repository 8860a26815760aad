package registrar

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A file is what the journal writes to.
type file interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// A mapping is a file that may tell that writing to it costs no system call, so that nothing is gained by gathering.
type mapping interface{ direct() bool }

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) // no shared mapping without reading
}

const (
	// gatherBytes bounds what waits in memory: the Update that goes beyond writes it.
	gatherBytes = 256 << 10
	// keepBytes bounds the buffers kept for reuse.
	keepBytes = 1 << 20
)

// An appender writes records to the present file, those of all Updates that wait at once.
//
// A record gets a mark, one more than the last, when its shard is still locked. Whoever needs it written takes the turn and writes
// everything there is; others find theirs done when they get the turn.
type appender struct {
	salt  uint32
	sync  bool
	delay time.Duration
	wake  func()       // something for the keeper: the disk failed, or the file has grown
	limit atomic.Int64 // size at which wake is called

	mu       sync.Mutex // guards these
	buf      []byte
	appended uint64
	spare    []byte

	turn   turn // guards these
	file   file
	maps   mapping // the file if it is one, else nil
	closed bool

	direct    atomic.Bool   // as of the file
	size      atomic.Int64  // of the file
	done      atomic.Uint64 // the last mark on the disk
	degraded  atomic.Bool
	cause     atomic.Pointer[error]
	lost      atomic.Uint64
	records   atomic.Uint64
	writes    atomic.Uint64
	failures  atomic.Uint64
	scheduled atomic.Bool
	timer     *time.Timer // set once, before use
}

func (a *appender) init(cfg JournalConfig, salt uint32, wake func()) {
	a.salt, a.sync, a.delay, a.wake = salt, cfg.Mode == Sync, cfg.Delay, wake
	a.turn.freed = make(chan struct{}, 1)
	a.limit.Store(cfg.CompactAt)
	if cfg.Gather || cfg.Mode == Async {
		a.timer = time.AfterFunc(time.Hour, a.timeout)
		a.timer.Stop()
	}
}

// append adds a record to what will be written next.
func (a *appender) append(aor AOR, state string) (mark uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.appended++
	if a.degraded.Load() {
		a.lost.Add(1)
		return a.appended
	}
	a.buf = appendRecord(a.buf, a.salt, aor, state)
	return a.appended
}

func (a *appender) mark() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.appended
}

// later sees to it that the record of that mark is written within the delay.
func (a *appender) later(ctx context.Context, mark uint64) error {
	if a.direct.Load() {
		return a.commit(ctx, mark)
	}
	a.mu.Lock()
	waiting := len(a.buf)
	a.mu.Unlock()
	if waiting >= gatherBytes {
		return a.commit(ctx, mark)
	}
	if waiting > 0 && !a.scheduled.Load() && a.scheduled.CompareAndSwap(false, true) {
		a.timer.Reset(a.delay)
	}
	return nil
}

func (a *appender) timeout() {
	a.scheduled.Store(false)
	_ = a.commit(context.Background(), a.mark()) // ErrClosed: Close has written it
}

// commit returns when the record of that mark is on the disk, or never will be because the disk failed.
func (a *appender) commit(ctx context.Context, mark uint64) error {
	for a.done.Load() < mark && !a.degraded.Load() {
		if err := a.turn.take(ctx); err != nil {
			return err
		}
		if a.done.Load() < mark {
			a.flush()
		}
		closed := a.closed
		a.turn.give()
		if closed {
			return ErrClosed
		}
	}
	return nil
}

// flush writes what is there. The caller has the turn.
func (a *appender) flush() {
	if a.closed || a.degraded.Load() {
		return
	}
	a.mu.Lock()
	b, end := a.buf, a.appended
	a.buf, a.spare = a.spare[:0], nil
	a.mu.Unlock()
	if len(b) > 0 {
		if err := a.write(b); err != nil {
			a.fail(err)
			return
		}
	}
	a.records.Add(end - a.done.Load())
	a.done.Store(end)
	if cap(b) <= keepBytes {
		a.mu.Lock()
		a.spare = b
		a.mu.Unlock()
	}
}

func (a *appender) write(b []byte) error {
	a.writes.Add(1)
	if _, err := a.file.Write(b); err != nil {
		return err
	}
	if d := a.maps != nil && a.maps.direct(); d != a.direct.Load() {
		a.direct.Store(d)
	}
	if a.sync {
		if err := a.file.Sync(); err != nil {
			return err
		}
	}
	if a.size.Add(int64(len(b))) >= a.limit.Load() {
		a.wake()
	}
	return nil
}

// fail goes over to memory only. After a failed write or fsync nothing is known of the end of the file: it is cut
// where it was good and left; the keeper starts a new one. The caller has the turn.
func (a *appender) fail(err error) {
	a.failures.Add(1)
	_ = a.file.Truncate(a.size.Load()) // best effort: the reader cuts a torn end too
	a.mu.Lock()
	a.degraded.Store(true) // under mu: no record may slip into buf after this
	a.lost.Add(a.appended - a.done.Load())
	a.buf = a.buf[:0]
	a.mu.Unlock()
	a.cause.Store(&err)
	a.wake()
}

// giveUp is fail for an error that no write has told.
func (a *appender) giveUp(err error) {
	_ = a.turn.take(context.Background())
	defer a.turn.give()
	if !a.closed && !a.degraded.Load() {
		a.fail(err)
	}
}

// use is for who has the turn, or has not begun.
func (a *appender) use(f file) {
	a.file = f
	a.maps, _ = f.(mapping)
}

// turnTo makes f, size octets long, the file that is written to and returns the one before, nil when that failed.
// What is waiting is written to the old one first. Leaving the degraded state, records count again from here.
func (a *appender) turnTo(f file, size int64) (old file) {
	_ = a.turn.take(context.Background())
	defer a.turn.give()
	a.flush()
	old = a.file
	a.use(f)
	a.size.Store(size)
	if !a.degraded.Load() {
		return old
	}
	a.mu.Lock()
	a.done.Store(a.appended)
	a.degraded.Store(false)
	a.mu.Unlock()
	return old
}

// close writes what is left and flushes it to the disk.
func (a *appender) close() error {
	_ = a.turn.take(context.Background())
	defer a.turn.give()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.flush()
	a.closed = true
	err := a.file.Truncate(a.size.Load()) // what was made ready and not used need not reach the disk
	if e := a.file.Sync(); err == nil {
		err = e
	}
	if e := a.file.Close(); err == nil {
		err = e
	}
	if a.degraded.Load() {
		err = *a.cause.Load()
	}
	return err
}
