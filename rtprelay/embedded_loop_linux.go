package rtprelay

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What costs a relay is being woken: the first packet of a batch wakes the loop, which then waits for gatherMillis so that many more
// are there, and reads them all without blocking.
const (
	gatherMillis = 2
	maxEvents    = 512
	burstNanos   = 10e6 // a socket read again so soon carries more than speech and is emptied
	maxBurst     = 32
)

// pollState is the poller in use; nil without sockets.
type pollState struct{ cur *poller }

func (s *pollState) idle() bool { return s.cur == nil }

type poller struct {
	loop   *relayLoop
	epfd   int
	wakefd int
	ports  []*relayPort // by descriptor
	count  int
	done   bool
	buf    [65536]byte
	from   unix.RawSockaddrAny
	events [maxEvents]unix.EpollEvent
}

// endpoint is an address to send to, with its form for the kernel.
type endpoint struct {
	addr netip.AddrPort
	raw  [unix.SizeofSockaddrInet6]byte
	size uint32
}

func endpointOf(a netip.AddrPort) endpoint {
	e := endpoint{addr: a}
	binary.BigEndian.PutUint16(e.raw[2:], a.Port())
	if a.Addr().Is4() {
		binary.NativeEndian.PutUint16(e.raw[:], unix.AF_INET)
		ip := a.Addr().As4()
		copy(e.raw[4:], ip[:])
		e.size = unix.SizeofSockaddrInet4
		return e
	}
	binary.NativeEndian.PutUint16(e.raw[:], unix.AF_INET6)
	ip := a.Addr().As16()
	copy(e.raw[8:], ip[:])
	e.size = unix.SizeofSockaddrInet6
	return e
}

func (l *relayLoop) bind(a netip.AddrPort) (relaySocket, error) {
	if l.portable {
		return l.bindConn(a)
	}
	family, level, opt := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TOS
	if a.Addr().Is6() {
		family, level, opt = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return relaySocket{}, err
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if l.tos >= 0 {
		_ = unix.SetsockoptInt(fd, level, opt, l.tos) // a courtesy to the network, not a need
	}
	e := endpointOf(a)
	if _, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&e.raw)), uintptr(e.size)); errno != 0 {
		_ = unix.Close(fd)
		return relaySocket{}, errno
	}
	return relaySocket{fd: fd}, nil
}

// mark sets the traffic class of a socket: a courtesy to the network, so that failing is none of the call's business.
func (l *relayLoop) mark(s relaySocket, tos int, ipv6 bool) {
	level, opt := unix.IPPROTO_IP, unix.IP_TOS
	if ipv6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if s.conn == nil {
		_ = unix.SetsockoptInt(s.fd, level, opt, tos)
		return
	}
	if raw, err := s.conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), level, opt, tos) })
	}
}

// portOf is the port that the system chose.
func (l *relayLoop) portOf(s relaySocket) uint16 {
	if s.conn != nil {
		return portOfConn(s.conn)
	}
	switch a, _ := unix.Getsockname(s.fd); a := a.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}

func (l *relayLoop) unbind(s relaySocket) {
	if s.conn != nil {
		_ = s.conn.Close()
		return
	}
	_ = unix.Close(s.fd)
}

// add starts to read from a port; the lock of the loop is held, as for remove and send. After an error the port is to be removed.
func (l *relayLoop) add(p *relayPort) error {
	if p.sock.conn != nil {
		l.addConn(p)
		return nil
	}
	q := l.poll.cur
	if q == nil {
		var err error
		if q, err = newPoller(l); err != nil {
			return err
		}
		l.poll.cur = q
		go q.run()
	}
	for len(q.ports) <= p.sock.fd {
		q.ports = append(q.ports, nil)
	}
	q.ports[p.sock.fd] = p
	q.count++
	return unix.EpollCtl(q.epfd, unix.EPOLL_CTL_ADD, p.sock.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.sock.fd)})
}

func (l *relayLoop) remove(p *relayPort) {
	if p.sock.conn != nil {
		_ = p.sock.conn.Close()
		return
	}
	if q := l.poll.cur; q != nil && p.sock.fd < len(q.ports) && q.ports[p.sock.fd] == p {
		q.ports[p.sock.fd] = nil
		if q.count--; q.count == 0 {
			q.done = true
			l.poll.cur = nil
			q.wake()
		}
	}
	_ = unix.Close(p.sock.fd) // leaves the epoll set with it
}

// send does not wait: a full socket buffer loses the packet, as the network would.
func (l *relayLoop) send(s relaySocket, b []byte, to *endpoint) bool {
	if s.conn != nil {
		return l.sendConn(s, b, to)
	}
	if len(b) == 0 {
		return false
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to.raw)), uintptr(to.size))
	return errno == 0
}

func newPoller(l *relayLoop) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakefd)})
	}
	if err != nil {
		_ = unix.Close(epfd)
		return nil, err
	}
	return &poller{loop: l, epfd: epfd, wakefd: wakefd}, nil
}

func (q *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(q.wakefd, one[:])
}

// run ends when the last port is removed.
func (q *poller) run() {
	for {
		q.sleep()
		n, err := unix.EpollWait(q.epfd, q.events[:], 0)
		if err != nil {
			continue // EINTR
		}
		q.loop.mu.Lock()
		done := q.done
		if !done {
			q.batch(n, q.loop.now())
		}
		q.loop.mu.Unlock()
		if done {
			_ = unix.Close(q.epfd)
			_ = unix.Close(q.wakefd)
			return
		}
	}
}

// batch serves every ready socket once; what stays behind is ready again next time.
func (q *poller) batch(n int, now int64) {
	for i := range n {
		fd := int(q.events[i].Fd)
		if fd >= len(q.ports) || q.ports[fd] == nil {
			continue // removed since, or the wake-up
		}
		p := q.ports[fd]
		if !q.read(p, now) {
			continue
		}
		if fast := now-p.burst < burstNanos; fast {
			for range maxBurst {
				if q.ports[fd] != p || !q.read(p, now) {
					break
				}
			}
		}
		p.burst = now
	}
}

func (q *poller) read(p *relayPort, now int64) bool {
	size := uint32(unix.SizeofSockaddrAny)
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(p.sock.fd), uintptr(unsafe.Pointer(&q.buf)), uintptr(len(q.buf)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&q.from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return false
	}
	p.receive(q.buf[:n], addrPortOf(&q.from), now)
	return true
}

func addrPortOf(r *unix.RawSockaddrAny) netip.AddrPort {
	if r.Addr.Family == unix.AF_INET {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(r))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), swap16(in.Port))
	}
	in := (*unix.RawSockaddrInet6)(unsafe.Pointer(r))
	return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), swap16(in.Port))
}

// swap16 reads a port that lies in network order in a native integer.
func swap16(v uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}

func addrInUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES) }

// fileLimit leaves some descriptors for the rest of the process.
func fileLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 8000
	}
	return int(min(1<<30, max(filesOfSession, r.Cur-min(r.Cur, 512))))
}
