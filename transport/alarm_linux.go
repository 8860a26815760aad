package transport

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A timerFD is a timerfd that a goroutine waits on.
type timerFD struct {
	file *os.File
	rc   syscall.RawConn
	f    func()
	buf  [8]byte
}

func (SystemNet) newAlarm(f func()) (Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &timerFD{file: os.NewFile(uintptr(fd), "alarm"), f: f}
	if a.rc, err = a.file.SyscallConn(); err != nil {
		_ = a.file.Close()
		return nil, err
	}
	go a.wait()
	return a, nil
}

func (a *timerFD) wait() {
	read := a.read
	for a.rc.Read(read) == nil {
		a.f()
	}
}

// read takes the expiry. RawSyscall, because it never waits: the runtime need not know.
func (a *timerFD) read(fd uintptr) bool {
	_, _, e := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&a.buf)), uintptr(len(a.buf)))
	return e == 0
}

func (a *timerFD) Set(d time.Duration) { a.set(max(d, 1)) }
func (a *timerFD) Stop()               { a.set(0) }

// set arms the timer; 0 disarms it. Control keeps the descriptor from being closed meanwhile.
func (a *timerFD) set(d time.Duration) {
	its := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = a.rc.Control(func(fd uintptr) {
		_, _, _ = syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&its)), 0, 0, 0)
	})
}

func (a *timerFD) Close() { _ = a.file.Close() }
