package registrar

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

var (
	// ErrUnavailable: the store cannot be reached now; REGISTER is answered 503 with Retry-After.
	ErrUnavailable = errors.New("registrar: store unavailable")
	// ErrLocked: another process has the store's directory open.
	ErrLocked = errors.New("registrar: store in use by another process")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("registrar: store closed")
	// ErrFull: the store holds as many addresses-of-record as its configuration allows.
	ErrFull = errors.New("registrar: store full")
	// ErrTooLarge: the bindings of one address-of-record take more than a store keeps (1 MiB packed).
	ErrTooLarge = errors.New("registrar: too much for one address-of-record")
)

// A Binding is one contact of an address-of-record (RFC 3261 §10.3).
type Binding struct {
	Contact   sip.URI
	Q         float32   // 0..1
	Expires   time.Time // to the nanosecond; zero and everything past: not stored
	CallID    string
	CSeq      uint32
	Path      []string       // raw Path values, topmost first (RFC 3327)
	Received  transport.Addr // where the REGISTER came from; zero: same as the contact
	Local     transport.Addr // the socket it arrived on
	Instance  string         // +sip.instance, without quotes (RFC 5626)
	RegID     uint32         // reg-id; 0: none
	Methods   []sip.Method   // nil: unknown
	UserAgent string
	Flags     uint32 // branch flags, the user's meaning
	GRUU      bool
	TempGRUUs []string   // temporary GRUUs still valid (RFC 5627)
	Params    sip.Params // contact header parameters kept verbatim, without q and expires
	Updated   time.Time
}

// An AOR is the canonical key of an address-of-record: lower-case scheme-less "user@domain", user unescaped (§10.3 step 5).
type AOR string

// A Store keeps bindings. Methods may wait (network, disk) and obey ctx; all are safe for concurrent use.
// Times come from package time. What an Update acknowledged survives what the engine's documentation promises.
type Store interface {
	// Update runs f on the unexpired bindings of aor and stores what it returns, atomically with respect to other Updates of that aor;
	// f may run more than once (compare-and-set engines) and must not keep or modify its argument in place. An error of f aborts and is returned as it is; nothing is changed.
	// What f returns is copied: nothing of it is kept. After ErrUnavailable or the end of ctx the change may have happened all the same.
	Update(ctx context.Context, aor AOR, f func(old []Binding) ([]Binding, error)) error
	// Lookup returns the unexpired bindings. The slice and what it refers to are read-only.
	Lookup(ctx context.Context, aor AOR) ([]Binding, error)
	// Scan yields every AOR with unexpired bindings, in no order; a snapshot is not promised.
	Scan(ctx context.Context) iter.Seq2[AOR, []Binding]
	// Watch calls f after each change until ctx ends: registered, refreshed, removed, expired. Engines that cannot see other nodes' changes tell their own.
	// It returns when ctx ends (ctx.Err) or the store is closed (ErrClosed). Calls come one at a time, in order for each aor, after a bounded queue:
	// a slow f loses events, which the engine counts, and never holds up an Update.
	Watch(ctx context.Context, f func(Event)) error
	Close() error
}

// A Waiter is a Store that says whether its methods may wait for a disk or a server. The registrar calls the others, and
// those that do not say, through sipproxy.Block.
type Waiter interface {
	Waits() bool
}

// An Appender is a Store that can look up into memory of the caller's, which then need not be found for every call. The registrar uses it
// in place of Lookup for calls to users, unless the store waits: whoever wraps an engine and changes Lookup changes this too.
type Appender interface {
	// AppendLookup is Lookup that appends the bindings to dst and returns the longer slice; with an error nothing of what it appended counts.
	// What the bindings refer to is read-only, and stays as it is when they are overwritten.
	AppendLookup(ctx context.Context, dst []Binding, aor AOR) ([]Binding, error)
}

// An Event is a change of one binding.
type Event struct {
	Kind    EventKind
	AOR     AOR
	Binding Binding
}

// An EventKind says what became of a binding.
type EventKind uint8

const (
	Registered EventKind = iota + 1
	Refreshed
	Removed
	Expired
)
