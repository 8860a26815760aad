package registrar

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	snapshotBuffer = 256 << 10
	// snapshotSync bounds what the kernel has to flush at once, which would hold up the journal's own writes.
	snapshotSync = 8 << 20
	// probeBytes is what the disk must take before a failed journal goes back to it.
	probeBytes = 64 << 10
	// lookEvery is how often the keeper sees whether the file is still there.
	lookEvery = 5 * time.Second
)

var errStopped = errors.New("registrar: journal closing")

// wake gives the keeper something to do.
func (j *Journal) wake() {
	select {
	case j.want <- struct{}{}:
	default:
	}
}

// keep is the goroutine that makes snapshots, raises the alarm and gets back to a disk that failed.
func (j *Journal) keep() {
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	defer retry.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	want := (<-chan struct{})(j.want)
	for {
		select {
		case <-j.stop:
			return
		case <-want:
		case <-retry.C:
			want = j.want
		case <-look.C:
			j.look()
			continue
		}
		j.raise()
		err := j.tidy()
		switch {
		case errors.Is(err, errStopped):
			return
		case err != nil:
			j.failures.Add(1)
			j.cfg.Logger.Warn("registrar: journal cannot be tidied", "dir", j.dir, "error", err)
			retry.Reset(j.cfg.Retry)
			want = nil // however often writes fail meanwhile
		default:
			j.clear()
		}
	}
}

// raise tells of a disk that failed, once.
func (j *Journal) raise() {
	if !j.log.degraded.Load() || j.alarmed {
		return
	}
	j.alarmed = true
	err := *j.log.cause.Load()
	j.cfg.Logger.Error("registrar: journal failed, bindings are kept in memory only", "dir", j.dir, "error", err)
	if j.cfg.Alarm != nil {
		j.cfg.Alarm(err)
	}
}

// clear tells that everything is on the disk again.
func (j *Journal) clear() {
	if !j.alarmed || j.log.degraded.Load() {
		return
	}
	j.alarmed = false
	j.cfg.Logger.Info("registrar: journal is back on the disk", "dir", j.dir)
	if j.cfg.Alarm != nil {
		j.cfg.Alarm(nil)
	}
}

// tidy makes a snapshot if one is due: the journal is long or damaged, or the disk has failed and the state must be written anew.
// An attempt that failed half-way is taken up without beginning one more journal.
func (j *Journal) tidy() error {
	degraded := j.log.degraded.Load()
	if !degraded && !j.due && j.log.size.Load() < j.log.limit.Load() {
		return nil
	}
	if degraded {
		if err := errors.Join(j.relock(), j.probe()); err != nil {
			return err
		}
	}
	if degraded || !j.rotated {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	j.rotated, j.due = true, true
	size, err := j.snapshot()
	if err != nil {
		return err
	}
	j.rotated, j.due = false, false
	j.removeBefore(j.generation)
	j.compactions.Add(1)
	j.log.limit.Store(max(j.cfg.CompactAt, size))
	return nil
}

// look sees whether what is written will be found again: a file that was removed takes everything, and nobody would find it.
func (j *Journal) look() {
	_, err := os.Stat(j.path(journalName, j.generation))
	if errors.Is(err, fs.ErrNotExist) {
		j.log.giveUp(err)
	}
}

// relock makes the directory and its lock anew when they were removed.
func (j *Journal) relock() error {
	if j.lock.holds(j.dir) {
		return nil
	}
	lock, err := lockDir(j.dir)
	if err != nil {
		return err
	}
	old := j.lock
	j.lock = lock
	return old.release()
}

// probe checks that the disk takes something.
func (j *Journal) probe() error {
	path := filepath.Join(j.dir, "probe"+tmpSuffix)
	f, err := j.cfg.create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

// rotate begins the journal of the next generation.
func (j *Journal) rotate() error {
	path := j.path(journalName, j.generation+1)
	f, err := j.cfg.create(path)
	if err != nil {
		return err
	}
	header := appendHeader(nil, j.log.salt)
	_, err = f.Write(header)
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(j.dir))
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	j.generation++
	if old := j.log.turnTo(j.mapped(f, int64(len(header))), int64(len(header))); old != nil {
		_ = old.Sync() // for what Write and Async wrote; the snapshot that follows holds it all
		_ = old.Close()
	}
	return nil
}

// mapped makes f, size octets long, a file to append changes to without a system call for each, where the system can. Sync calls the disk anyway.
func (j *Journal) mapped(f file, size int64) file {
	real, ok := f.(*os.File)
	if !ok || j.cfg.Mode == Sync {
		return f
	}
	return mapFile(real, size, j.cfg.allocate)
}

// snapshot writes the whole state beside the journal of the present generation. Updates go on meanwhile: what they
// change is in that journal, before or after it is in the snapshot.
func (j *Journal) snapshot() (size int64, err error) {
	path := j.path(snapshotName, j.generation)
	f, err := j.cfg.create(path + tmpSuffix)
	if err != nil {
		return 0, err
	}
	size, err = j.writeSnapshot(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+tmpSuffix, path)
	}
	if err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		_ = os.Remove(path + tmpSuffix)
		return 0, err
	}
	return size, nil
}

func (j *Journal) writeSnapshot(f file) (size int64, err error) {
	w := bufio.NewWriterSize(f, snapshotBuffer)
	record := appendHeader(nil, j.log.salt)
	now, synced := time.Now().UnixNano(), int64(0)
	if _, err := w.Write(record); err != nil {
		return 0, err
	}
	size = int64(len(record))
	for aor, state := range j.mem.states(context.Background()) {
		if state = dropExpired(state, now); state == "" {
			continue
		}
		record = appendRecord(record[:0], j.log.salt, aor, state)
		if _, err := w.Write(record); err != nil {
			return 0, err
		}
		if size += int64(len(record)); size-synced < snapshotSync {
			continue
		}
		synced = size
		if err := j.pause(f); err != nil {
			return 0, err
		}
	}
	if j.stopping() {
		return 0, errStopped // the state may have ended early
	}
	return size, w.Flush()
}

// pause lets others have the processor and the disk.
func (j *Journal) pause(f file) error {
	if j.stopping() {
		return errStopped
	}
	runtime.Gosched()
	return f.Sync()
}

func (j *Journal) stopping() bool {
	select {
	case <-j.stop:
		return true
	default:
		return false
	}
}

// removeBefore removes what a snapshot of that generation has made superfluous, and what a crash left half done.
func (j *Journal) removeBefore(generation uint64) {
	for _, kind := range []string{journalName, snapshotName} {
		l, _ := generations(j.dir, kind)
		for _, g := range l {
			if g < generation {
				j.remove(j.path(kind, g))
			}
		}
	}
	files, _ := os.ReadDir(j.dir)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), tmpSuffix) {
			j.remove(filepath.Join(j.dir, f.Name()))
		}
	}
}

// remove removes a file, but one that was found damaged: that is renamed, for whoever wants to look into it.
func (j *Journal) remove(path string) {
	err := error(nil)
	if slices.ContainsFunc(j.damage, func(d Damage) bool { return !d.Torn && d.File == filepath.Base(path) }) {
		err = os.Rename(path, path+damagedSuffix)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		j.cfg.Logger.Warn("registrar: journal file left over", "file", path, "error", err)
	}
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
