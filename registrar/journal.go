package registrar

import (
	"context"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Durability says what an acknowledged Update of a Journal survives.
type Durability uint8

const (
	// Write: the record has been handed to the kernel, which keeps it in the pages of the file: survives kill -9, not the loss of power.
	Write Durability = iota
	// Async: the record is written within JournalConfig.Delay.
	Async
	// Sync: the record has been flushed to the disk by fsync(2), one for all Updates that wait at the time: survives the loss of power.
	Sync
)

// JournalConfig is the configuration of a Journal. The zero value works.
type JournalConfig struct {
	Mode Durability
	// Gather lets Update return with its record still in memory, where more join it, until Flush is called, which must be done
	// before an acknowledgement leaves; a reader calls it once for a whole batch of datagrams. Where records are written without
	// a system call nothing waits.
	Gather bool
	// Delay bounds how long a record waits in memory with Async or Gather. 0: 50 ms.
	Delay time.Duration
	// CompactAt is the size in bytes of the file of changes from which a snapshot replaces it; it must also have outgrown the snapshot. 0: 64 MiB.
	CompactAt int64
	// Retry is the time between attempts to get back to a disk that failed. 0: 1 s.
	Retry time.Duration
	// MaxAORs and EventQueue are those of Memory.
	MaxAORs, EventQueue int
	// Logger gets damage found when opening, and failure and return of the disk. nil: nothing is logged.
	Logger *slog.Logger
	// Alarm, if set, is called with the error when the disk fails and bindings are kept in memory only, and with nil
	// when everything is on the disk again. Calls come one at a time, from a goroutine of the Journal.
	Alarm func(error)

	create   func(path string) (file, error)      // nil: the real one
	allocate func(f *os.File, off, n int64) error // nil: the real one
}

const (
	defaultDelay     = 50 * time.Millisecond
	defaultCompactAt = 64 << 20
	defaultRetry     = time.Second
)

func (c JournalConfig) withDefaults() JournalConfig {
	if c.Delay == 0 {
		c.Delay = defaultDelay
	}
	if c.CompactAt == 0 {
		c.CompactAt = defaultCompactAt
	}
	if c.Retry == 0 {
		c.Retry = defaultRetry
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.create == nil {
		c.create = createFile
	}
	if c.allocate == nil {
		c.allocate = allocate
	}
	return c
}

// A Journal is a Store in memory whose changes are appended to a file, so that a restart finds them again.
// journal_record.go describes the files. Close writes and flushes what is left.
//
// When the disk is full or fails, or somebody removes the file (which is noticed within 5 s), Updates go on in memory, are counted in JournalStats.Lost, and the alarm is raised; the
// whole state is written anew as soon as the disk takes it.
type Journal struct {
	mem  Memory
	cfg  JournalConfig
	dir  string
	lock *dirLock
	log  appender

	want     chan struct{} // holds a token when the keeper has something to do
	stop     chan struct{}
	stopped  sync.WaitGroup
	closing  sync.Once
	closeErr error

	// These are the keeper's once it runs.
	generation uint64 // of the file written to
	rotated    bool   // a snapshot of this generation is still to be made
	due        bool   // a snapshot is due whatever the size
	alarmed    bool

	loaded      int
	damage      []Damage
	compactions atomic.Uint64
	failures    atomic.Uint64
}

// JournalStats are counts since OpenJournal and the present state.
type JournalStats struct {
	MemoryStats
	Loaded      int      // addresses-of-record found when opening
	Damage      []Damage // found when opening
	Degraded    bool     // the disk fails: bindings are in memory only
	Lost        uint64   // changes that were acknowledged and not written because of that
	Written     uint64   // changes written
	Writes      uint64   // times the file was written to for them
	Compactions uint64   // snapshots made
	Failures    uint64   // failed writes, snapshots and attempts to return
	Size        int64    // bytes in the present file of changes
}

// OpenJournal opens the journal in dir, which is made when absent. A torn end, as a crash leaves it, is cut off; of a file damaged
// elsewhere everything that is whole is taken, and the rest is reported with its offset in JournalStats.Damage and to the Logger.
// ErrLocked: another Journal has dir open.
func OpenJournal(dir string, cfg JournalConfig) (*Journal, error) {
	j := &Journal{cfg: cfg.withDefaults(), dir: dir, want: make(chan struct{}, 1), stop: make(chan struct{})}
	j.mem.MaxAORs, j.mem.EventQueue = cfg.MaxAORs, cfg.EventQueue
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	j.lock = lock
	if err := j.load(); err != nil {
		_ = lock.release()
		return nil, err
	}
	j.mem.log = j.log.append
	j.stopped.Go(j.keep)
	return j, nil
}

// Update implements Store. Besides the errors of f and of Memory it returns ctx.Err when ctx ends before the record
// is written; the change is made nevertheless.
func (j *Journal) Update(ctx context.Context, aor AOR, f func(old []Binding) ([]Binding, error)) error {
	mark, err := j.mem.update(ctx, aor, f)
	if mark == 0 {
		return err
	}
	return j.written(ctx, mark)
}

// written returns when the record of that mark is as safe as Update promises.
func (j *Journal) written(ctx context.Context, mark uint64) error {
	if j.cfg.Gather || j.cfg.Mode == Async {
		return j.log.later(ctx, mark)
	}
	return j.log.commit(ctx, mark)
}

// Flush returns when everything that was updated before the call is as durable as Mode says (Async: written).
// It costs next to nothing when nothing is waiting.
func (j *Journal) Flush(ctx context.Context) error {
	if j.mem.closed.Load() {
		return ErrClosed
	}
	return j.log.commit(ctx, j.log.mark())
}

// Lookup implements Store; it is that of Memory.
func (j *Journal) Lookup(ctx context.Context, aor AOR) ([]Binding, error) {
	return j.mem.Lookup(ctx, aor)
}

// AppendLookup implements Appender; it is that of Memory.
func (j *Journal) AppendLookup(ctx context.Context, dst []Binding, aor AOR) ([]Binding, error) {
	return j.mem.AppendLookup(ctx, dst, aor)
}

// Scan implements Store.
func (j *Journal) Scan(ctx context.Context) iter.Seq2[AOR, []Binding] { return j.mem.Scan(ctx) }

// Watch implements Store.
func (j *Journal) Watch(ctx context.Context, f func(Event)) error { return j.mem.Watch(ctx, f) }

// Waits implements Waiter: only Sync waits for the disk.
func (j *Journal) Waits() bool { return j.cfg.Mode == Sync }

// Stats may be called at any time.
func (j *Journal) Stats() JournalStats {
	return JournalStats{
		MemoryStats: j.mem.Stats(),
		Loaded:      j.loaded,
		Damage:      j.damage,
		Degraded:    j.log.degraded.Load(),
		Lost:        j.log.lost.Load(),
		Written:     j.log.records.Load(),
		Writes:      j.log.writes.Load(),
		Compactions: j.compactions.Load(),
		Failures:    j.failures.Load() + j.log.failures.Load(),
		Size:        j.log.size.Load(),
	}
}

// Close writes what is left, flushes it to the disk and frees the directory.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		close(j.stop)
		j.stopped.Wait()
		_ = j.mem.Close()
		j.closeErr = j.log.close()
		if err := j.lock.release(); j.closeErr == nil {
			j.closeErr = err
		}
	})
	return j.closeErr
}
