package transport

import (
	"context"
	"net"
	"net/netip"
)

// SystemNet is the real network.
type SystemNet struct {
	// DNS is the server to ask, "192.0.2.53:53"; "": those of /etc/resolv.conf, after /etc/hosts.
	DNS string
}

// ListenPacket binds a UDP socket.
func (SystemNet) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.ListenConfig
	return c.ListenPacket(ctx, network, address)
}

// listenReuse binds one of several UDP sockets on one port.
func (SystemNet) listenReuse(ctx context.Context, network, address string) (net.PacketConn, error) {
	c := net.ListenConfig{Control: reusePort}
	return c.ListenPacket(ctx, network, address)
}

// Listen binds a TCP socket. The keepalives of TCP are left off: SIP has its own, and idle connections are closed.
func (SystemNet) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	return c.Listen(ctx, network, address)
}

// Dial opens a TCP connection.
func (SystemNet) Dial(ctx context.Context, network, local, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if local != "" {
		ip, err := netip.ParseAddr(local)
		if err != nil {
			return nil, err
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
	}
	return d.DialContext(ctx, network, address)
}

// InterfaceAddrs are the addresses of this machine.
func (SystemNet) InterfaceAddrs() ([]net.Addr, error) { return net.InterfaceAddrs() }
