package transport

import (
	"net"
	"net/netip"
)

// A plainIO works on any packet socket, one datagram at a time.
type plainIO struct {
	pc   net.PacketConn
	udp  *net.UDPConn // nil for other implementations
	buf  []byte
	n    int
	from netip.AddrPort
}

func newPlainIO(pc net.PacketConn) *plainIO {
	udp, _ := pc.(*net.UDPConn)
	return &plainIO{pc: pc, udp: udp, buf: make([]byte, maxDatagram)}
}

func (p *plainIO) read() (int, error) {
	var err error
	if p.udp != nil {
		p.n, p.from, err = p.udp.ReadFromUDPAddrPort(p.buf)
		p.from = netip.AddrPortFrom(p.from.Addr().Unmap(), p.from.Port())
		if err != nil {
			return 0, err
		}
		return 1, nil
	}
	var a net.Addr
	p.n, a, err = p.pc.ReadFrom(p.buf)
	if err != nil {
		return 0, err
	}
	from, ok := addrPortOf(a)
	if !ok {
		return 0, nil
	}
	p.from = from
	return 1, nil
}

func (p *plainIO) datagram(int) ([]byte, netip.AddrPort, netip.Addr) {
	return p.buf[:p.n], p.from, netip.Addr{}
}

func (p *plainIO) write(slots []slot) (int, error) {
	for i := range slots {
		s := &slots[i]
		var err error
		if p.udp != nil {
			_, err = p.udp.WriteToUDPAddrPort(s.buf, s.to)
		} else {
			_, err = p.pc.WriteTo(s.buf, net.UDPAddrFromAddrPort(s.to))
		}
		if err != nil {
			return i, err
		}
	}
	return len(slots), nil
}

func (p *plainIO) failures(func(netip.AddrPort, []byte, error) bool) {}
func (p *plainIO) drops() uint64                                     { return 0 }

func (p *plainIO) close() error { return p.pc.Close() }
