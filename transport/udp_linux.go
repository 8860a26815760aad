package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An mmsgIO reads and writes batches with recvmmsg and sendmmsg through the runtime's poller, on structures that are used
// again and again. (A thread blocked in recvmmsg costs more than the poller; the batches of x/net allocate.)
type mmsgIO struct {
	s  *socket
	v6 bool

	in    msgVec
	bufs  []byte
	n     int // datagrams of the last batch
	errno syscall.Errno
	take  func(fd uintptr) bool

	out    msgVec
	outN   int // to send, and then sent
	outErr syscall.Errno
	put    func(fd uintptr) bool

	zones map[uint32]string
}

// A msgVec is the argument of recvmmsg and sendmmsg.
type msgVec struct {
	hdrs  [slotCount]unix.Mmsghdr
	iovs  [slotCount]unix.Iovec
	names [slotCount]unix.RawSockaddrInet6
	ctl   [slotCount][ctlWords]uint64
}

// ctlWords hold one in_pktinfo or in6_pktinfo with its header.
const ctlWords = 6

func (v *msgVec) init() {
	for i := range v.hdrs {
		h := &v.hdrs[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&v.names[i]))
		h.Iov = &v.iovs[i]
		h.SetIovlen(1)
	}
}

func newPacketIO(pc net.PacketConn, ln *listener) (packetIO, error) {
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return newPlainIO(pc), nil
	}
	s, err := takeSocket(udp)
	if err != nil {
		return nil, err
	}
	x := &mmsgIO{s: s, v6: ln.addr.AddrPort.Addr().Is6()}
	if err := x.options(ln); err != nil {
		_ = s.close()
		return nil, err
	}
	x.in.init()
	x.out.init()
	x.bufs = make([]byte, batchSize*maxDatagram)
	for i := range batchSize {
		v := &x.in.iovs[i]
		v.Base = &x.bufs[i*maxDatagram]
		v.SetLen(maxDatagram)
		x.in.hdrs[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		if ln.wildcard {
			x.in.hdrs[i].Hdr.Control = (*byte)(unsafe.Pointer(&x.in.ctl[i]))
			x.in.hdrs[i].Hdr.SetControllen(ctlWords * 8)
		}
	}
	x.take = x.recvmmsg
	x.put = x.sendmmsg
	return x, nil
}

// options asks for ICMP errors and, on wildcard sockets, for the address that datagrams were sent to.
func (x *mmsgIO) options(ln *listener) error {
	level, recverr, pktinfo := unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_PKTINFO
	if x.v6 {
		level, recverr, pktinfo = unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_RECVPKTINFO
	}
	var err error
	ctlErr := x.s.Control(func(uintptr) {
		fd := x.s.fd
		// Beyond rmem_max for those who may; the others got what the system allows.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ln.l.cfg.RecvBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, ln.l.cfg.RecvBuffer)
		if err = unix.SetsockoptInt(int(fd), level, recverr, 1); err == nil && ln.wildcard {
			err = unix.SetsockoptInt(int(fd), level, pktinfo, 1)
		}
	})
	if err == nil {
		err = ctlErr
	}
	return err
}

// ---- receiving

func (x *mmsgIO) read() (int, error) {
	for i := range x.n {
		h := &x.in.hdrs[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if h.Control != nil {
			h.SetControllen(ctlWords * 8)
		}
	}
	x.n, x.errno = 0, 0
	if err := x.s.Read(x.take); err != nil {
		return 0, err
	}
	if x.errno != 0 {
		return 0, x.errno
	}
	return x.n, nil
}

func (x *mmsgIO) recvmmsg(uintptr) bool {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, x.s.fd, uintptr(unsafe.Pointer(&x.in.hdrs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			x.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			x.errno = e
			return true
		}
	}
}

func (x *mmsgIO) datagram(i int) ([]byte, netip.AddrPort, netip.Addr) {
	m := &x.in.hdrs[i]
	at := i * maxDatagram
	data := x.bufs[at : at+int(m.Len)]
	var local netip.Addr
	if m.Hdr.Control != nil {
		local = pktinfo(&x.in.ctl[i], int(m.Hdr.Controllen))
	}
	return data, x.addrPort(&x.in.names[i]), local
}

func (x *mmsgIO) addrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := networkOrder(sa.Port)
	if sa.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	ip := netip.AddrFrom16(sa.Addr)
	if sa.Scope_id != 0 {
		ip = ip.WithZone(x.zone(sa.Scope_id))
	}
	return netip.AddrPortFrom(ip, port)
}

// zone names an interface, as package net does. Only link-local addresses have one.
func (x *mmsgIO) zone(index uint32) string {
	if name, ok := x.zones[index]; ok {
		return name
	}
	name := strconv.Itoa(int(index))
	if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
		name = ifi.Name
	}
	if x.zones == nil {
		x.zones = make(map[uint32]string)
	}
	x.zones[index] = name
	return name
}

// pktinfo finds the address a datagram was sent to in its control messages.
func pktinfo(ctl *[ctlWords]uint64, n int) netip.Addr {
	b := unsafe.Slice((*byte)(unsafe.Pointer(ctl)), ctlWords*8)[:min(n, ctlWords*8)]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		end := int(h.Len)
		if end < unix.SizeofCmsghdr || end > len(b) {
			break
		}
		data := b[unix.CmsgLen(0):end]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// spec_dst, not addr: for broadcast and multicast it is our own address.
			return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Spec_dst)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr)
		}
		next := unix.CmsgSpace(end - unix.CmsgLen(0))
		if next > len(b) {
			break
		}
		b = b[next:]
	}
	return netip.Addr{}
}

// ---- sending

func (x *mmsgIO) write(slots []slot) (int, error) {
	for i := range slots {
		x.fill(i, &slots[i])
	}
	x.outN = len(slots)
	for try := 0; ; try++ {
		if err := x.s.Write(x.put); err != nil {
			return 0, err
		}
		switch {
		case x.outErr == 0:
			return x.outN, nil
		case x.outErr == unix.EAGAIN:
			return 0, ErrQueueFull
		case try < retries(x.outErr):
			// The news about an earlier datagram, not about this one: the reader shall look into the error queue.
			// Several tries, because with every entry taken from that queue the system reports the next one.
			x.s.poke()
		default:
			return 0, os.NewSyscallError("sendmmsg", x.outErr)
		}
	}
}

// retries: the system reports ICMP errors at whatever call comes next, by the numbers that a send may give for its own
// datagram, too; but ECONNREFUSED never is about this one.
func retries(e syscall.Errno) int {
	switch e {
	case unix.ECONNREFUSED:
		return 200
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.EPROTO, unix.EOPNOTSUPP, unix.ENOPROTOOPT, unix.EACCES, unix.EMSGSIZE:
		return 8
	}
	return 0
}

// sendmmsg never waits: a full socket buffer drops.
func (x *mmsgIO) sendmmsg(uintptr) bool {
	for {
		n, e := x.transmit(x.s.fd)
		if e == unix.EINTR {
			continue
		}
		if x.outErr = e; e == 0 {
			x.outN = n
		}
		return true
	}
}

// transmit is one system call: the plainest one for the lone datagram that most batches are.
func (x *mmsgIO) transmit(fd uintptr) (int, syscall.Errno) {
	if h := &x.out.hdrs[0].Hdr; x.outN == 1 && h.Control == nil {
		_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(x.out.iovs[0].Base)), uintptr(x.out.iovs[0].Len),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(h.Name)), uintptr(h.Namelen))
		return 1, e
	}
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&x.out.hdrs[0])), uintptr(x.outN), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func (x *mmsgIO) fill(i int, s *slot) {
	h := &x.out.hdrs[i].Hdr
	v := &x.out.iovs[i]
	v.Base = unsafe.SliceData(s.buf)
	v.SetLen(len(s.buf))
	port := networkOrder(s.to.Port())
	h.Control = nil
	h.SetControllen(0)
	if !x.v6 {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&x.out.names[i]))
		sa.Family, sa.Port, sa.Addr = unix.AF_INET, port, s.to.Addr().As4()
		h.Namelen = unix.SizeofSockaddrInet4
		if !s.local.isNone() {
			info := cmsg[unix.Inet4Pktinfo](h, &x.out.ctl[i], unix.IPPROTO_IP, unix.IP_PKTINFO)
			info.Spec_dst = s.local.addr().As4()
		}
		return
	}
	sa := &x.out.names[i]
	sa.Family, sa.Port, sa.Addr, sa.Scope_id = unix.AF_INET6, port, s.to.Addr().As16(), scope(s.to.Addr())
	h.Namelen = unix.SizeofSockaddrInet6
	if !s.local.isNone() {
		info := cmsg[unix.Inet6Pktinfo](h, &x.out.ctl[i], unix.IPPROTO_IPV6, unix.IPV6_PKTINFO)
		info.Addr = s.local.addr().As16()
	}
}

// cmsg makes the control buffer of a message one control message and gives its zeroed content.
func cmsg[T any](h *unix.Msghdr, ctl *[ctlWords]uint64, level, typ int32) *T {
	*ctl = [ctlWords]uint64{}
	size := int(unsafe.Sizeof(*new(T)))
	c := (*unix.Cmsghdr)(unsafe.Pointer(ctl))
	c.Level, c.Type = level, typ
	c.SetLen(unix.CmsgLen(size))
	h.Control = (*byte)(unsafe.Pointer(ctl))
	h.SetControllen(unix.CmsgSpace(size))
	return (*T)(unsafe.Add(unsafe.Pointer(ctl), unix.CmsgLen(0)))
}

func scope(ip netip.Addr) uint32 {
	if ip.Zone() == "" {
		return 0
	}
	if n, err := strconv.Atoi(ip.Zone()); err == nil {
		return uint32(n)
	}
	ifi, err := net.InterfaceByName(ip.Zone())
	if err != nil {
		return 0
	}
	return uint32(ifi.Index)
}

// networkOrder turns a port into network order or back.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// ---- errors and drops

// failures empties the error queue of the socket (ip(7), IP_RECVERR). ICMP errors are rare: this may allocate.
func (x *mmsgIO) failures(tell func(netip.AddrPort, []byte, error) bool) {
	buf, oob := make([]byte, 2048), make([]byte, 512)
	for {
		var n, oobn int
		var from unix.Sockaddr
		var err error
		if ctl := x.s.Control(func(uintptr) {
			fd := x.s.fd
			n, oobn, _, from, err = unix.Recvmsg(int(fd), buf, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		}); ctl != nil || err != nil {
			return
		}
		errno, ok := extendedError(oob[:oobn])
		to, known := sockaddr(from)
		if !ok || !known {
			continue
		}
		if !tell(to, buf[:n], fmt.Errorf("%w: %w", ErrUnreachable, errno)) {
			return
		}
	}
}

// extendedError gives the error of an ICMP message; ok is false for other news.
func extendedError(oob []byte) (errno syscall.Errno, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(m.Data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
			icmp := e.Origin == unix.SO_EE_ORIGIN_ICMP || e.Origin == unix.SO_EE_ORIGIN_ICMP6 || e.Origin == unix.SO_EE_ORIGIN_LOCAL
			return syscall.Errno(e.Errno), icmp
		}
	}
	return 0, false
}

func sockaddr(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}

// memInfoDrops is the index of the drop counter in SO_MEMINFO (linux/sock_diag.h).
const memInfoDrops = 8

func (x *mmsgIO) drops() uint64 {
	var info [16]uint32
	size := uint32(unsafe.Sizeof(info))
	var e syscall.Errno
	err := x.s.Control(func(uintptr) {
		fd := x.s.fd
		_, _, e = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || e != 0 || size <= memInfoDrops*4 {
		return 0
	}
	return uint64(info[memInfoDrops])
}

func (x *mmsgIO) close() error { return x.s.close() }
