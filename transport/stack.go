package transport

import (
	"context"
	"crypto/tls"
	"net"
)

// A stack is what sets the reliable protocols apart: how a raw connection becomes one that carries messages. WebSocket
// joins by a stack whose open does the HTTP upgrade and whose connection takes messages out of frames.
type stack interface {
	// network is what to listen on and dial: "tcp".
	network() string
	// server says whether listeners can be made with this configuration.
	server(Config) error
	// open does the handshake, on the connection's own goroutine and within ctx. nc's writes never block.
	open(ctx context.Context, nc net.Conn, c *conn) (net.Conn, error)
}

func stackOf(p Proto) stack {
	switch p {
	case TCP:
		return tcpStack{}
	case TLS:
		return tlsStack{}
	}
	return nil
}

type tcpStack struct{}

func (tcpStack) network() string                                                { return "tcp" }
func (tcpStack) server(Config) error                                            { return nil }
func (tcpStack) open(_ context.Context, nc net.Conn, _ *conn) (net.Conn, error) { return nc, nil }

type tlsStack struct{}

func (tlsStack) network() string { return "tcp" }

func (tlsStack) server(c Config) error {
	if c.TLS == nil || len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil && c.TLS.GetConfigForClient == nil {
		return errNoCertificate
	}
	return nil
}

func (tlsStack) open(ctx context.Context, nc net.Conn, c *conn) (net.Conn, error) {
	var tc *tls.Conn
	if c.inbound {
		tc = tls.Server(nc, c.l.cfg.TLS)
	} else {
		tc = tls.Client(nc, c.l.clientTLS(c.remote))
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tc, nil
}

// clientTLS checks the certificate against the name the address was resolved from (RFC 5922 §4), or the IP address.
func (l *Layer) clientTLS(to Addr) *tls.Config {
	cfg := &tls.Config{}
	if l.cfg.TLS != nil {
		cfg = l.cfg.TLS.Clone()
	}
	cfg.ServerName = to.Name
	if to.Name == "" {
		cfg.ServerName = to.AddrPort.Addr().WithZone("").String()
	}
	return cfg
}
