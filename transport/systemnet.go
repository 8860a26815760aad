package transport

import (
	"context"
	"net"
	"net/netip"
	"time"
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

// Listen binds a TCP socket.
func (SystemNet) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1} // SIP has its own
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

// LookupNAPTR asks the DNS for NAPTR records.
func (SystemNet) LookupNAPTR(context.Context, string) ([]NAPTR, time.Duration, error) {
	return nil, 0, nil
}

// LookupSRV asks for SRV records.
func (SystemNet) LookupSRV(ctx context.Context, name string) ([]SRV, time.Duration, error) {
	return nil, 0, nil
}

// LookupIP asks for A and AAAA records.
func (SystemNet) LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	return ips, time.Minute, err
}
