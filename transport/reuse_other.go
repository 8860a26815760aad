//go:build !unix || solaris || illumos

package transport

import "syscall"

func reusePort(_, _ string, _ syscall.RawConn) error { return ErrNotSupported }
