package transport

import (
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
	// ErrNoAddress: the name has no usable address (also: no listener of that protocol or family).
	ErrNoAddress = errors.New("transport: no address")
	// ErrUnreachable: ICMP said so. ErrClosed: the layer or connection is closed. ErrQueueFull: the peer reads too slowly. ErrTooLarge: does not fit a datagram.
	ErrUnreachable = errors.New("transport: unreachable")
	ErrClosed      = errors.New("transport: closed")
	ErrQueueFull   = errors.New("transport: send queue full")
	ErrTooLarge    = errors.New("transport: message too large")
)

// A Handler receives what the transports read. Its methods run on the reading goroutine and must not block.
type Handler interface {
	// ServeMessage gets one message. For a request, received and rport of its topmost Via are filled in already (§18.2.1, RFC 3581).
	ServeMessage(m sip.Message, f Flow)
	// ServeUnreachable gets the (possibly cut) bytes of a datagram that ICMP says did not arrive.
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

// A Net makes sockets and asks the DNS. SystemNet is the real one.
type Net interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// Dial opens a connection; local is "" or the IP address to bind to.
	Dial(ctx context.Context, network, local, address string) (net.Conn, error)
	LookupNAPTR(ctx context.Context, name string) ([]NAPTR, time.Duration, error)
	LookupSRV(ctx context.Context, name string) ([]SRV, time.Duration, error)
	LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)
}

type NAPTR struct {
	Order, Preference           uint16
	Flags, Service, Replacement string
}
type SRV struct {
	Priority, Weight uint16
	Port             uint16
	Target           string
}

// Config: a zero field means the default written beside it.
type Config struct {
	Net              Net // SystemNet
	Handler          Handler
	TLS              *tls.Config // server and client side; nil: no TLS listeners, client with system roots
	Limits           sip.Limits
	Connections      int           // open connections; 10000; beyond: the longest idle one is closed, else refused
	ConnectionsPerIP int           // 1000
	QueueBytes       int           // unsent bytes per connection; 256 KiB
	Idle             time.Duration // connection without traffic is closed; 3 min... see docs
	DialTimeout      time.Duration // 5 s
	HandshakeTimeout time.Duration // 5 s
	RecvBuffer       int           // SO_RCVBUF asked for; 4 MiB
	Readers          int           // UDP sockets per listen address (SO_REUSEPORT); 1
	StallAfter       time.Duration // 0: no watchdog
	Tap              func(Packet)
	Logger           *slog.Logger
}

// A Layer owns the sockets of one server.
type Layer struct{ stub int }

func New(c Config) *Layer { panic("stub") }

// ParseListen reads "udp:10.0.0.5:5060=203.0.113.5:5060" and "udp:0.0.0.0:5060".
func ParseListen(spec string) (listen Addr, advertised string, err error) { panic("stub") }

// Listen opens every socket or none.
func (l *Layer) Listen(ctx context.Context, specs ...string) error { panic("stub") }

// Start begins reading.
func (l *Layer) Start() { panic("stub") }

// Close closes sockets and connections, waits for the goroutines to end.
func (l *Layer) Close() error { panic("stub") }

// Addrs are the bound addresses, ports filled in, in the order of Listen. Advertised are the sent-by strings beside them.
func (l *Layer) Addrs() []Addr        { panic("stub") }
func (l *Layer) Advertised() []string { panic("stub") }

// IsLocal reports whether host (literal, name compared without case to advertised names) and port are one of ours; port 0 means the default of proto; proto 0 any.
func (l *Layer) IsLocal(host string, port uint16, p Proto) bool { panic("stub") }

// FlowTo gives a flow to an address: the UDP socket fit for it, an open connection, or a new one whose dialling starts with the first Send and is shared by all
// who ask meanwhile. from prefers the listener of that flow's local side when it fits (zero: any). It never blocks.
func (l *Layer) FlowTo(to Addr, from Flow) (Flow, error) { panic("stub") }

// FindFlow finds the existing flow of a stored (local, remote) pair; false when the connection is gone or local is not one of ours.
func (l *Layer) FindFlow(local, remote Addr) (Flow, bool) { panic("stub") }

// ReplyFlow is the flow on which answers to a request received on f leave, by §18.2.2 and RFC 3581: computed once per transaction.
func (l *Layer) ReplyFlow(f Flow, top sip.Via) Flow { panic("stub") }

// ViaFlow is the flow for a response whose topmost Via (after ours was removed) is v, when the flow of its request is not known: stateless forwarding.
func (l *Layer) ViaFlow(v sip.Via, from Flow) (Flow, error) { panic("stub") }

// Hold and Flush bracket work that sends much: UDP datagrams queue until the last Flush. Readers do it around each batch by themselves. They nest and are cheap.
func (l *Layer) Hold()  { panic("stub") }
func (l *Layer) Flush() { panic("stub") }

// A Query asks where to send (RFC 3263).
type Query struct {
	Host   string
	Port   uint16 // 0: absent
	Proto  Proto  // 0: not given by the URI
	Secure bool   // sips
}

// QueryFor reads host, port, transport, maddr and scheme of a URI.
func QueryFor(u sip.URI) Query { panic("stub") }

// Resolve gives the addresses to try in order, targets that lately failed last. It may wait for DNS; ErrNoAddress when there are none.
func (l *Layer) Resolve(ctx context.Context, q Query) ([]Addr, error) { panic("stub") }

// ResolveNow is Resolve for what needs no waiting: literals and cached names. ok is false when Resolve is needed. dst is reused.
func (l *Layer) ResolveNow(dst []Addr, q Query) (addrs []Addr, ok bool) { panic("stub") }

// Report tells the health table how a target did; failed ones are tried last for 30 s.
func (l *Layer) Report(a Addr, ok bool) { panic("stub") }

// Stats are counters since New; see the fields.
type Stats struct {
	Received, Sent                                                                      uint64 // messages
	Malformed, TooLarge, Trailing, Keepalives                                           uint64
	ConnsOpen, ConnsRefused, DialFailed, HandshakeFailed, QueueFull, SendFailed, Stalls uint64
	KernelDrops                                                                         uint64
}

func (l *Layer) Stats() Stats { panic("stub") }
