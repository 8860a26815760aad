package transport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A socket is a UDP socket that the runtime's poller knows as an epoll instance of its own, which asks for EPOLLIN alone. The poller asks for
// EPOLLOUT, too, and each datagram that a peer on this machine takes from its buffer then is an event of the socket that sent it: a wake-up for nothing, as
// dear as one for a message. Read, Write and Control are those of a syscall.RawConn; they keep the descriptor open during the call.
type socket struct {
	poll   *os.File // the epoll instance; what waits, and what counts the users of fd
	rc     syscall.RawConn
	fd     uintptr
	closed atomic.Bool
}

// takeSocket moves the socket of c, which it closes, out of the runtime's poller. On an error c is as it was.
func takeSocket(c *net.UDPConn) (*socket, error) {
	fd, err := dup(c)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: uintptr(fd)}
	if err := s.watch(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	_ = c.Close() // the socket lives on
	return s, nil
}

func dup(c *net.UDPConn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctl := rc.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, os.NewSyscallError("fcntl", errors.Join(ctl, err))
}

func (s *socket) watch(fd int) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	if err == nil {
		err = unix.SetNonblock(ep, true) // else package os would not give it to the poller
	}
	if err != nil {
		_ = unix.Close(ep)
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.poll = os.NewFile(uintptr(ep), "epoll")
	if s.rc, err = s.poll.SyscallConn(); err == nil {
		err = s.poll.SetReadDeadline(time.Time{}) // fails unless the poller has it
	}
	if err != nil {
		_ = s.poll.Close()
	}
	return err
}

// Read calls f, and again whenever something may have come, until it returns true. To f the descriptor is s.fd, not the argument, which is that of
// the epoll instance; so for Write and Control.
// Errors: net.ErrClosed, os.ErrDeadlineExceeded after poke.
func (s *socket) Read(f func(uintptr) bool) error {
	err := s.rc.Read(f)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = s.poll.SetReadDeadline(time.Time{})
	}
	return s.error(err)
}

// Write calls f, which returns true.
func (s *socket) Write(f func(uintptr) bool) error { return s.error(s.rc.Write(f)) }

// Control calls f once.
func (s *socket) Control(f func(uintptr)) error { return s.error(s.rc.Control(f)) }

func (s *socket) error(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return err
}

// poke makes a Read that waits return.
func (s *socket) poke() { _ = s.poll.SetReadDeadline(time.Unix(1, 0)) }

// close ends a Read that waits, and returns when nobody uses the descriptor any more.
func (s *socket) close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	err := s.poll.Close() // waits for the users
	if e := unix.Close(int(s.fd)); err == nil {
		err = e
	}
	return err
}
