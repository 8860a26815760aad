package rtprelay

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

var (
	// ErrUnavailable: no usable answer in time, or the engine is full or shutting down; another engine may serve.
	ErrUnavailable = errors.New("rtprelay: engine unavailable")
	// ErrNoSession: the engine does not know the call.
	ErrNoSession = errors.New("rtprelay: no such session")
	// ErrAlreadyRelayed: the description carries a=nortpproxy:yes, another relay is engaged.
	ErrAlreadyRelayed = errors.New("rtprelay: already relayed")
	// ErrBadSDP: the description cannot be understood; it is to be passed unchanged.
	ErrBadSDP = errors.New("rtprelay: bad session description")
	// ErrUnsupported: the engine cannot do what was asked (play, record, bridge ...).
	ErrUnsupported = errors.New("rtprelay: not supported by this engine")
)

// A RefusedError is a definite no of the engine: trying another one is useless.
type RefusedError struct {
	Code   string // "E37", or the reason text of ng
	Reason string
}

func (e *RefusedError) Error() string { return "rtprelay: refused: " + e.Code + " " + e.Reason }

// A Ref names one leg of a call at an engine.
type Ref struct {
	CallID  string
	Leg     int    // branch id of the fork; 0 when there is only one
	FromTag string // tag of the party whose description came first (the offerer of the first offer)
	ToTag   string // tag of the other party, "" while unknown
}

// Options of one offer or answer. The zero value is symmetric RTP, addresses taken from Source, no bridging.
type Options struct {
	TrustSDP    bool          // use the address in the description, not that of the SIP message
	Asymmetric  bool          // no latching for this party; implies TrustSDP
	From, To    string        // interface names (embedded, rtpengine direction) or "internal"/"external" (RTPProxy i/e): side of the party whose SDP this is, other side
	Repacketize time.Duration // packets coming from this party are cut to this length; 0: as they come
	IPv6        *bool         // family towards the other party; nil: as the description
	ICE         ICE
	Force       bool       // ignore the a=nortpproxy marker
	Address     netip.Addr // write this address instead of the engine's; zero: the engine's answer
}

// ICE says what happens to ICE lines. The zero value removes them.
type ICE int

const (
	ICERemove ICE = iota
	ICEKeep
)

// Params is one description to be rewritten.
type Params struct {
	Ref
	Swap    bool // the description comes from the ToTag party (offer or answer in the other direction)
	SDP     string
	Source  netip.Addr // where the SIP message came from
	Options Options
}

// A Result is the fully rewritten description.
type Result struct {
	SDP     string
	Node    string // which engine serves the call; give it back in later Params through a Set
	Streams int
}

// Stats are the media counters of a leg as far as the engine tells them.
type Stats struct {
	Packets, Bytes, Lost [2]uint64 // from the offerer, from the answerer
	Dropped              uint64
	Jitter               [2]time.Duration
	Idle                 time.Duration // since the last packet
}

// An Engine relays media. Methods wait for the engine, are safe for concurrent use and obey ctx.
// Offer and Answer return a whole new description or an error, never a half.
type Engine interface {
	Offer(ctx context.Context, p Params) (Result, error)
	Answer(ctx context.Context, p Params) (Result, error)
	Delete(ctx context.Context, r Ref) error // an unknown session is not an error
	Query(ctx context.Context, r Ref) (Stats, error)
}

// A Player plays a prepared file to one party (music on hold); optional.
type Player interface {
	Play(ctx context.Context, r Ref, toAnswerer bool, file string, times int) error
	Stop(ctx context.Context, r Ref, toAnswerer bool) error
}

// A Recorder records the media of a leg; optional.
type Recorder interface {
	Record(ctx context.Context, r Ref) error
	StopRecord(ctx context.Context, r Ref) error
}

// A Prober tells whether the engine answers; Set uses it; optional.
type Prober interface {
	Probe(ctx context.Context) error
}
