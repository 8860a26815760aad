package rtprelay

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
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

// A RefusedError is a definite no of the engine, or of us before asking it: trying another one is useless.
type RefusedError struct {
	Code   string // "E37", the reason text of ng, or "input" for what we refuse to send
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return "rtprelay: refused: " + e.Code
	}
	return "rtprelay: refused: " + e.Code + ": " + e.Reason
}

// A BusyError is an answer that says the engine is alive but cannot take a new call now: no ports, no memory, overloaded, shutting
// down. It is an ErrUnavailable; calls that it serves already are not concerned.
type BusyError struct {
	Code   string // "E71", or the reason text of ng
	Reason string
}

func (e *BusyError) Error() string { return "rtprelay: engine busy: " + e.Code + " " + e.Reason }

// Is makes it an ErrUnavailable.
func (e *BusyError) Is(target error) bool { return target == ErrUnavailable }

// A ReplyError is an answer that makes no sense: half of one, port 0, no address, the wrong protocol. It is an ErrUnavailable.
type ReplyError struct {
	Reply string // at most 100 bytes of it
	Why   string
}

func (e *ReplyError) Error() string {
	return "rtprelay: odd reply: " + e.Why + ": " + strconv.Quote(e.Reply)
}

// Is makes it an ErrUnavailable.
func (e *ReplyError) Is(target error) bool { return target == ErrUnavailable }

// A Ref names one leg of a call at an engine.
type Ref struct {
	CallID  string
	Leg     int    // branch id of the fork; 0 when there is only one
	FromTag string // tag of the party whose description came first (the offerer of the first offer)
	ToTag   string // tag of the other party, "" while unknown

	Group int // which one of Sets; of no meaning once Node is known

	// Node is the Result.Node of the offer, for a Set; "" lets the Set find it. Carry it along with the call (in the dialog's state, a
	// Record-Route parameter, a store), so that a restarted or a second proxy asks the same engine.
	Node string
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
	KeepOrigin  bool       // leave o= as it is
	NoMark      bool       // do not append a=nortpproxy:yes

	RTPProxy *RTPProxyOptions // for an RTPProxy only; nil: none
	NG       *NGOptions       // for an NG only, in place of its own; nil: its own
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
	// Swap: the exchange runs the other way, the ToTag party offers and the FromTag party answers (re-INVITE of the callee, late
	// offer). So the description is the FromTag party's in an Offer without Swap and in an Answer with it.
	Swap    bool
	SDP     string
	Source  netip.Addr // where the SIP message came from
	Options Options
}

// A Result is the fully rewritten description. When there was nothing to relay (no stream switched on, none over UDP), SDP is
// the one given and Streams 0.
type Result struct {
	SDP     string
	Node    string // which engine serves the call, "" outside a Set; give it back in later Refs
	Streams int    // relayed
}

// Stats are the media counters of a leg as far as the engine tells them.
type Stats struct {
	Packets, Bytes, Lost [2]uint64 // from the offerer, from the answerer
	Dropped              uint64
	Jitter               [2]time.Duration
	Idle                 time.Duration // since the last packet
}

// An Engine relays media. Methods wait for the engine, are safe for concurrent use and obey ctx.
// Offer and Answer return a whole new description or an error, never a half. An Offer that fails for a new call (without ToTag)
// leaves no session behind; the engine may clean up after it has returned.
type Engine interface {
	Offer(ctx context.Context, p Params) (Result, error)
	Answer(ctx context.Context, p Params) (Result, error)
	Delete(ctx context.Context, r Ref) error // an unknown session is not an error
	Query(ctx context.Context, r Ref) (Stats, error)
}

// A Player plays a prepared file to one party (music on hold); optional.
type Player interface {
	// Play starts to play file so many times; 0: once, negative: until Stop. toAnswerer: the ToTag party hears it.
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
