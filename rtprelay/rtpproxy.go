package rtprelay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// RTPProxy is a client of one RTPProxy, or of anything else that speaks its control protocol. It implements Engine, Player, Recorder and
// Prober. Fields must not change once it is in use; methods are safe for concurrent use. The connection is made at first use and again
// after a failure; Close ends it.
type RTPProxy struct {
	// Address of the control socket: "udp:host:port" and "udp6:host:port" (port 22222 unless given), "unix:/path" (a connection a
	// command), "cunix:/path" and "tcp:host:port" and "tcp6:host:port" (one lasting connection).
	Address string

	Timeout time.Duration // for everything one method asks; 0: 1 s
	Retry   time.Duration // first repetition over UDP, doubled each time; 0: 100 ms

	// Default is written into descriptions when the relay answers with a port alone; invalid: such an answer is an error.
	Default netip.Addr

	// Notify is the stream socket where a Notifications listener of ours waits, as the relay must call it and as its own -n
	// option says: "unix:/path", "tcp:host:port", or "tcp:%%CC_SELF%%:port" for the address we talk from. Empty: no time-out
	// notifications. Without -n the relay refuses every offer that asks for them, so they are asked for only when it claims 20081224.
	Notify string

	SingleFile bool // Record writes both parties into one file; the relay must run with -P

	// Dial makes control connections; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	ctl     control
	ctlErr  error
	closed  bool
	probing chan struct{} // non-nil while a probe runs; closed at its end

	caps atomic.Uint32 // capProbed and what the relay claims; 0: to be probed

	counters rtpproxyCounters
}

// control carries commands over one kind of socket. command is without line end, as is the reply.
type control interface {
	do(ctx context.Context, command string) (string, error)
	close()
}

// ClientCounters tell what a client of an engine (RTPProxy, NG) has seen since it was made.
type ClientCounters struct {
	Commands    uint64 // sent, without repetitions
	Repetitions uint64
	Timeouts    uint64 // commands without a reply in time
	Late        uint64 // replies nobody waits for any more
	Odd         uint64 // replies that make no sense
	Refused     uint64 // E replies
}

type rtpproxyCounters struct {
	commands, repetitions, timeouts, late, odd, refused atomic.Uint64
}

// Counters are a snapshot.
func (e *RTPProxy) Counters() ClientCounters {
	c := &e.counters
	return ClientCounters{c.commands.Load(), c.repetitions.Load(), c.timeouts.Load(), c.late.Load(), c.odd.Load(), c.refused.Load()}
}

var errClosed = errors.New("rtprelay: client closed")

// Close ends the connection; later calls fail.
func (e *RTPProxy) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.ctl != nil {
		e.ctl.close()
	}
	return nil
}

func (e *RTPProxy) control() (control, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	if e.ctl == nil && e.ctlErr == nil {
		e.ctl, e.ctlErr = e.newControl()
	}
	return e.ctl, e.ctlErr
}

func (e *RTPProxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.Dial != nil {
		return e.Dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (e *RTPProxy) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, orDefaultDuration(e.Timeout, time.Second))
}

// command sends one command to a relay that may not have been probed yet.
func (e *RTPProxy) command(ctx context.Context, command string) (string, error) {
	ctl, err := e.control()
	if err != nil {
		return "", err
	}
	if len(command) > maxCommand {
		return "", &RefusedError{Code: "input", Reason: "command longer than 8 KiB"}
	}
	e.counters.commands.Add(1)
	reply, err := ctl.do(ctx, command)
	if err != nil {
		e.counters.timeouts.Add(1)
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.caps.Store(0) // whoever answers next may be another program
		}
		return "", err
	}
	if err := errorReply(reply); err != nil {
		e.counters.refused.Add(1)
		return reply, err
	}
	return reply, nil
}

func (e *RTPProxy) odd(reply, why string) error {
	e.counters.odd.Add(1)
	return &ReplyError{Reply: clip(reply), Why: why}
}

func clip(s string) string { return s[:min(len(s), 100)] }

func orDefaultDuration(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
