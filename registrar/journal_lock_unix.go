//go:build unix

package registrar

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A dirLock keeps other processes, and other Journals of this one, off a directory. The kernel frees it when the process dies.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return &dirLock{f}, nil
}

// holds reports whether the lock is the one of the directory, and not of one that was removed.
func (l *dirLock) holds(dir string) bool {
	mine, err := l.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(dir, "lock"))
	return err == nil && os.SameFile(mine, there)
}

// release unlocks before it closes: a child that was forked meanwhile has a copy of the descriptor until it execs, and the lock would live as long.
func (l *dirLock) release() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}
