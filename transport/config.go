package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/sipkit/sipkit/sip"
)

var (
	// ErrNoAddress: the name has no usable address, or there is no listener of the protocol or family that the address needs.
	ErrNoAddress = errors.New("transport: no address")
	// ErrUnreachable: ICMP said that a datagram did not arrive.
	ErrUnreachable = errors.New("transport: unreachable")
	// ErrClosed: the layer or the connection is closed.
	ErrClosed = errors.New("transport: closed")
	// ErrQueueFull: the peer reads too slowly.
	ErrQueueFull = errors.New("transport: send queue full")
	// ErrTooLarge: the message does not fit a datagram.
	ErrTooLarge = errors.New("transport: message too large")
	// ErrTooMany: Config.Connections are open and none is idle.
	ErrTooMany = errors.New("transport: too many connections")
	// ErrNotSupported: a listen address or target names a protocol that this version does not speak.
	ErrNotSupported = errors.New("transport: protocol not supported yet")
	// ErrIdle: the connection was closed after Config.Idle without traffic, or to make room for others.
	ErrIdle = errors.New("transport: connection idle")
)

// A Handler receives what the transports read. Its methods run on the reading goroutine and must not block.
type Handler interface {
	// ServeMessage gets one message. For a request, received and rport of its topmost Via are filled in already (§18.2.1, RFC 3581).
	ServeMessage(m sip.Message, f Flow)
	// ServeUnreachable gets the (possibly cut) bytes of a datagram that ICMP, or the local system, says did not arrive.
	// sent is valid during the call only.
	ServeUnreachable(sent []byte, to Addr, err error)
	// Stalled is called (on another goroutine) when a ServeMessage call has held its reader for Config.StallAfter and the reader was replaced.
	Stalled()
}

// A Packet is one message on the wire, for Tap. Data is valid during the call only.
type Packet struct {
	Time          time.Time
	Out           bool
	Local, Remote Addr
	Data          []byte
}

// A Net makes sockets and asks the DNS. SystemNet is the real one. The lookups give records and how long they may be
// kept; an empty answer without error is kept as "does not exist". A *net.UDPConn is taken over on Linux: its socket lives on in the Layer,
// the UDPConn itself is closed. A ReadFrom of a packet socket may return an
// *UnreachableError to tell what ICMP tells on real networks; any other error but net.ErrClosed is retried.
// A Net may have a method InterfaceAddrs() ([]net.Addr, error), as package net has: the addresses, *net.IPNet, that a wildcard
// listener stands for. Without it there are none.
type Net interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// Dial opens a connection; local is "" or the IP address to bind to.
	Dial(ctx context.Context, network, local, address string) (net.Conn, error)
	LookupNAPTR(ctx context.Context, name string) ([]NAPTR, time.Duration, error)
	LookupSRV(ctx context.Context, name string) ([]SRV, time.Duration, error)
	LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)
}

// An UnreachableError says that a datagram did not arrive.
type UnreachableError struct {
	To   netip.AddrPort
	Sent []byte // the datagram, possibly cut
}

func (e *UnreachableError) Error() string { return ErrUnreachable.Error() + ": " + e.To.String() }

// Unwrap gives ErrUnreachable.
func (e *UnreachableError) Unwrap() error { return ErrUnreachable }

// A NAPTR record (RFC 3403).
type NAPTR struct {
	Order, Preference           uint16
	Flags, Service, Replacement string
}

// An SRV record (RFC 2782).
type SRV struct {
	Priority, Weight uint16
	Port             uint16
	Target           string
}

// Config is the configuration of a Layer. A zero field means the default written beside it.
type Config struct {
	Net              Net // SystemNet
	Handler          Handler
	TLS              *tls.Config   // server and client side; nil: no TLS listeners, client with system roots
	Limits           sip.Limits    // of received messages
	Connections      int           // open connections; 10000; beyond: the longest idle one is closed, those that never brought a message first, else refused
	ConnectionsPerIP int           // accepted from one address; 1000; beyond: the same among its own
	QueueBytes       int           // unsent bytes per connection; 256 KiB
	Idle             time.Duration // a connection without traffic is closed; 3 min
	DialTimeout      time.Duration // 5 s
	HandshakeTimeout time.Duration // 5 s
	ResolveTimeout   time.Duration // all DNS queries of one Resolve; 5 s
	Lookups          int           // DNS questions in progress, of two descriptors each; 256; beyond: they wait, within ResolveTimeout
	RecvBuffer       int           // SO_RCVBUF asked for; 4 MiB
	Readers          int           // UDP sockets per listen address (SO_REUSEPORT, with SystemNet only); 1
	StallAfter       time.Duration // a handler call that holds its reader longer loses it, within twice that time; 0: no watchdog
	// BeforeSend is called right before datagrams, or a message on a connection, are handed to the system: once for all that a batch of received
	// datagrams caused. What answers promise can be made durable here with one write for all. nil: nothing.
	BeforeSend func()
	// Tap sees every message in and out, on the goroutine that reads or sends it; it must not block and not send.
	Tap func(Packet)
	// NonSIP gets datagrams whose first byte is 0 to 3 (STUN, RFC 7983) and answers on f with SendRaw; data is valid
	// during the call. It runs on the reader. False, or nil: the datagram is counted as malformed.
	NonSIP func(data []byte, f Flow) bool
	// ForceRport answers requests whose sent-by is another address than their source as if they had asked for rport (RFC 3581).
	ForceRport bool
	Logger     *slog.Logger // none
}

func (c Config) withDefaults() Config {
	if c.Net == nil {
		c.Net = SystemNet{}
	}
	c.Limits.MessageBytes = cmp.Or(c.Limits.MessageBytes, maxDatagram)
	c.Connections = cmp.Or(c.Connections, 10000)
	c.ConnectionsPerIP = cmp.Or(c.ConnectionsPerIP, 1000)
	c.QueueBytes = cmp.Or(c.QueueBytes, 256<<10)
	c.Idle = cmp.Or(c.Idle, 3*time.Minute)
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.ResolveTimeout = cmp.Or(c.ResolveTimeout, 5*time.Second)
	c.Lookups = cmp.Or(max(c.Lookups, 0), 256)
	c.RecvBuffer = cmp.Or(c.RecvBuffer, 4<<20)
	c.Readers = max(c.Readers, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
