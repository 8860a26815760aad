package transaction

import (
	"errors"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// An Instant is a point in time in nanoseconds since its Layer was made, on the monotonic clock; machines take it as an argument.
type Instant int64

// Timers are the values of RFC 3261 Appendix A. A zero field means the default written beside it.
type Timers struct {
	T1 time.Duration // 500 ms
	T2 time.Duration // 4 s
	T4 time.Duration // 5 s
	D  time.Duration // 32 s (UDP; 0 s on reliable transports always)
	C  time.Duration // 181 s: over three minutes (§16.6 step 11); used by the engine
}

var (
	ErrTimeout    = errors.New("transaction: timeout")         // Timer B, F or H
	ErrTransport  = errors.New("transaction: transport error") // wraps the cause
	ErrExists     = errors.New("transaction: exists")
	ErrLimit      = errors.New("transaction: too many")
	ErrTerminated = errors.New("transaction: terminated")
)

type Config struct {
	Timers    Timers
	Transport *transport.Layer
	Servers   int // server transactions at once, finished ones included; 1,000,000
	Clients   int // client transactions; 1,000,000
}

// A Layer holds the transactions of one server. All methods are safe for concurrent use.
type Layer struct{ stub int }

func New(c Config) *Layer     { panic("stub") }
func (l *Layer) Close()       { panic("stub") } // ends every transaction silently, stops the wheel
func (l *Layer) Now() Instant { panic("stub") }
func (l *Layer) Stats() Stats { panic("stub") }

type Stats struct {
	Servers, Clients                                  int // in progress now, including finished ones still absorbing
	ServersTotal, ClientsTotal                        uint64
	Retransmitted, Absorbed, Stray, Timeouts, Refused uint64
}

// ---- client side

// A ClientUser is the TU of a client transaction. Methods run on the goroutine that caused them (reader, wheel, transport) without any lock of this package held,
// must not block, and may call back into the package.
type ClientUser interface {
	// Response gets every response to pass up: all 1xx, one final, and for an INVITE every further 2xx (RFC 6026).
	Response(c *Client, res *sip.Response, f transport.Flow)
	// Ended: no final response came or will: ErrTimeout, or an error wrapping ErrTransport. At most once, never after a final.
	Ended(c *Client, err error)
}

type Client struct{ stub int }

// Request starts a client transaction: req's topmost Via carries a unique branch. The request is sent on f at once. The layer keeps req for retransmission, ACK and CANCEL; the caller no longer edits it.
// An immediate send failure is returned, and no transaction exists.
func (l *Layer) Request(req *sip.Request, f transport.Flow, u ClientUser) (*Client, error) {
	panic("stub")
}

// Cancel asks for a CANCEL: sent now when a 1xx was received, at the first 1xx otherwise, never after a final (§9.1). reason is the value of a Reason
// field (RFC 3326), "" for none. When no final follows within 64*T1 of the CANCEL the transaction ends with ErrTimeout. Idempotent.
func (c *Client) Cancel(reason string) { panic("stub") }

// Abandon forgets the user: no further calls to it. The machine goes on (ACK for late finals).
func (c *Client) Abandon()              { panic("stub") }
func (c *Client) Request() *sip.Request { panic("stub") } // nil once finished
func (c *Client) Flow() transport.Flow  { panic("stub") }

// ---- server side

type ServerUser interface {
	// Acked: the ACK to a 3xx-6xx final arrived, or (ack != nil) an ACK for a 2xx that matches by Call-ID, CSeq and tag.
	// Unsent: a response could not be delivered. Unacked: Timer H.
	Unsent(s *Server, err error)
}

type Server struct{ stub int }

// MatchRequest looks a received request up (§17.2.3).
//   - absorbed: a copy (answered from the transaction) or an ACK to a non-2xx: nothing more to do;
//   - CANCEL: tx is the INVITE (or other) transaction it is for, nil when there is none; a copy of a CANCEL is absorbed;
//   - ACK not absorbed: it acknowledges a 2xx (or nothing of ours): to the TU;
//   - else a new request: the TU decides whether to call NewServer.
func (l *Layer) MatchRequest(req *sip.Request, f transport.Flow) (tx *Server, absorbed bool) {
	panic("stub")
}

// NewServer opens a server transaction. ErrExists: another goroutine was first, the request is a copy; ErrLimit.
func (l *Layer) NewServer(req *sip.Request, f transport.Flow, u ServerUser) (*Server, error) {
	panic("stub")
}

// Respond sends a response by the machine's rules: provisional, one final (a 2xx to an INVITE may be sent again and again while Accepted, RFC 6026).
// ErrTerminated when the state forbids it. The layer takes res over. After a final it keeps the printed response only where the RFC wants it resent and releases the request.
func (s *Server) Respond(res *sip.Response) error { panic("stub") }
func (s *Server) Request() *sip.Request           { panic("stub") } // nil after the final response
func (s *Server) Flow() transport.Flow            { panic("stub") }

// Final is the final code sent, 0 before.
func (s *Server) Final() int { panic("stub") }

// MatchResponse gives a response to its client transaction. false: none matches (the caller may forward it statelessly or drop it).
func (l *Layer) MatchResponse(res *sip.Response, f transport.Flow) bool { panic("stub") }

// Unreachable fails the client transaction that sent this datagram (top Via branch and CSeq method are looked up in its bytes).
func (l *Layer) Unreachable(sent []byte, to transport.Addr, err error) { panic("stub") }

// ---- the wheel, for timers of the users of this package

// A Timer is an entry of the layer's wheel, embedded in what it serves. F runs on the wheel's goroutine, must not block. Resolution: one slot (20 ms); never early.
type Timer struct {
	F    func() // set once before the first Set
	stub int
}

func (l *Layer) SetTimer(t *Timer, d time.Duration) { panic("stub") } // (re)arms
func (l *Layer) StopTimer(t *Timer)                 { panic("stub") }

// NewBranch returns a fresh branch prefix: magic cookie and 64 random bits. NewTag a tag with 64 random bits.
func NewBranch() string { panic("stub") }
func NewTag() string    { panic("stub") }
