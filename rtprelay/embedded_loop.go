package rtprelay

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// relayLoop moves the packets of its sessions. One lock serves them all: it is taken once a batch, not once a packet.
type relayLoop struct {
	mu       sync.Mutex
	base     time.Time
	portable bool
	tos      int
	poll     pollState
}

func newRelayLoop(base time.Time, portable bool, tos int) *relayLoop {
	return &relayLoop{base: base, portable: portable, tos: tos}
}

// now is nanoseconds since the relay was made.
func (l *relayLoop) now() int64 { return int64(time.Since(l.base)) }

// relaySocket is a descriptor of the poll loop, or a connection with a goroutine of its own.
type relaySocket struct {
	fd   int
	conn *net.UDPConn
}

// bindConn, addConn and sendConn are the portable way: one goroutine a socket.
func (l *relayLoop) bindConn(a netip.AddrPort) (relaySocket, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
	return relaySocket{conn: c}, err
}

func (l *relayLoop) addConn(p *relayPort) {
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := p.sock.conn.ReadFromUDPAddrPort(b)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // an ICMP error of an earlier packet
			}
			l.mu.Lock()
			p.receive(b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), l.now())
			l.mu.Unlock()
		}
	}()
}

func (l *relayLoop) sendConn(s relaySocket, b []byte, to *endpoint) bool {
	_, err := s.conn.WriteToUDPAddrPort(b, to.addr)
	return err == nil
}

func portOfConn(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }
