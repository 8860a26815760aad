//go:build !unix

package registrar

import "os"

// A dirLock does nothing here: the system has no flock(2). Nothing keeps two processes off one directory.
type dirLock struct{}

func lockDir(dir string) (*dirLock, error) { return &dirLock{}, os.MkdirAll(dir, 0o700) }

func (l *dirLock) holds(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

func (l *dirLock) release() error { return nil }
