//go:build unix

package transport

import (
	"errors"

	"golang.org/x/sys/unix"
)

const canTryWrite = true

// tryWrite writes what the system takes now; the socket is in non-blocking mode.
func tryWrite(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}
