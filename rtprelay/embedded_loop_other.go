//go:build !linux

package rtprelay

import (
	"errors"
	"net/netip"
	"syscall"
)

type pollState struct{}

func (*pollState) idle() bool { return true }

// endpoint is an address to send to.
type endpoint struct{ addr netip.AddrPort }

func endpointOf(a netip.AddrPort) endpoint { return endpoint{a} }

func (l *relayLoop) bind(a netip.AddrPort) (relaySocket, error) { return l.bindConn(a) }
func (l *relayLoop) unbind(s relaySocket)                       { _ = s.conn.Close() }
func (l *relayLoop) add(p *relayPort) error                     { l.addConn(p); return nil }
func (l *relayLoop) remove(p *relayPort)                        { _ = p.sock.conn.Close() }

func (l *relayLoop) mark(relaySocket, int, bool) {} // the system's traffic class stays
func (l *relayLoop) portOf(s relaySocket) uint16 { return portOfConn(s.conn) }

func (l *relayLoop) send(s relaySocket, b []byte, to *endpoint) bool { return l.sendConn(s, b, to) }

func addrInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}

// fileLimit is a guess where the limit of descriptors is not known.
func fileLimit() int { return 8000 }
