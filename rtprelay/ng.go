package rtprelay

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxNG is the longest message: what fits in a datagram.
const maxNG = 64 << 10

// NG is a client of one rtpengine, over its ng protocol. It implements Engine, Player, Recorder and Prober. Fields must not change once it is in
// use; methods are safe for concurrent use.
//
// The daemon writes the new description itself, so it may also change codecs, encryption and ICE, and normalises attributes of the
// streams it understands.
type NG struct {
	Address string        // "udp:host:port", "udp6:...", "tcp:...", "tcp6:..."; port 2223 unless given
	Timeout time.Duration // for everything one method asks; 0: 1 s
	Retry   time.Duration // first repetition over UDP, doubled each time; 0: 100 ms
	Options NGOptions     // for calls whose Options.NG is nil

	// Interfaces are the names that the daemon was given with --interface. It would ignore any other without a word, so Options.From
	// and To must be among them.
	Interfaces []string

	// Dial makes control connections; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	ctl    *datagrams
	closed bool

	commands, repetitions, timeouts, late, odd, refused atomic.Uint64
}

// Counters are a snapshot.
func (e *NG) Counters() ClientCounters {
	return ClientCounters{e.commands.Load(), e.repetitions.Load(), e.timeouts.Load(), e.late.Load(), e.odd.Load(), e.refused.Load()}
}

// Close ends the connection; later calls fail.
func (e *NG) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.ctl != nil {
		e.ctl.close()
	}
	return nil
}

func (e *NG) control() (*datagrams, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	if e.ctl != nil {
		return e.ctl, nil
	}
	kind, where, _ := strings.Cut(e.Address, ":")
	stream := kind == "tcp" || kind == "tcp6"
	if where == "" || (!stream && kind != "udp" && kind != "udp6") {
		return nil, fmt.Errorf("rtprelay: ng address %q: want udp:, udp6:, tcp: or tcp6: and where", e.Address)
	}
	where = withPort(where, "2223")
	dial := func(ctx context.Context) (net.Conn, error) {
		c, err := e.dial(ctx, kind, where)
		if err == nil && stream {
			c = &ngStream{Conn: c, r: bufio.NewReader(c)}
		}
		return c, err
	}
	e.ctl = newDatagrams(dial, orDefaultDuration(e.Retry, 100*time.Millisecond), maxNG)
	e.ctl.stream = stream
	e.ctl.repeated = func() { e.repetitions.Add(1) }
	e.ctl.late = func() { e.late.Add(1) }
	return e.ctl, nil
}

func (e *NG) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.Dial != nil {
		return e.Dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// command sends one dictionary and reads the answer's.
func (e *NG) command(ctx context.Context, d *bdict) (bvalue, error) {
	ctl, err := e.control()
	if err != nil {
		return bvalue{}, err
	}
	body := d.String()
	if len(body) > maxNG-100 {
		return bvalue{}, &RefusedError{Code: "input", Reason: "longer than a datagram"}
	}
	ctx, cancel := context.WithTimeout(ctx, orDefaultDuration(e.Timeout, time.Second))
	defer cancel()
	e.commands.Add(1)
	text, err := ctl.do(ctx, body)
	if err != nil {
		e.timeouts.Add(1)
		return bvalue{}, err
	}
	v, err := decodeBencode(text)
	if err != nil {
		return bvalue{}, e.oddReply(text, "not bencode")
	}
	if err := e.failure(&v, text); err != nil {
		return bvalue{}, err
	}
	return v, nil
}

func (e *NG) oddReply(text, why string) error {
	e.odd.Add(1)
	return &ReplyError{Reply: clip(text), Why: why}
}

// failure turns a result other than ok into a typed error.
func (e *NG) failure(v *bvalue, text string) error {
	reason := v.get("error-reason").str
	switch result := v.get("result").str; result {
	case "ok", "pong":
		return nil
	case "load limit":
		e.refused.Add(1)
		return &BusyError{Code: result, Reason: v.get("message").str}
	case "error":
		e.refused.Add(1)
	default:
		return e.oddReply(text, "no result")
	}
	low := strings.ToLower(reason)
	switch {
	case strings.HasPrefix(low, "unknown call-id"), strings.HasPrefix(low, "call-id not found"):
		return ErrNoSession
	case strings.HasPrefix(low, "parallel session limit"), strings.Contains(low, "out of ports"), strings.Contains(low, "load limit"):
		return &BusyError{Code: reason}
	case strings.HasPrefix(low, "failed to parse sdp"):
		return fmt.Errorf("%w: %s", ErrBadSDP, reason)
	case strings.HasPrefix(low, "unrecognized command"):
		return fmt.Errorf("%w: %s", ErrUnsupported, reason)
	}
	return &RefusedError{Code: reason}
}

// Probe pings.
func (e *NG) Probe(ctx context.Context) error {
	v, err := e.command(ctx, newBdict("ping"))
	if err == nil && v.get("result").str != "pong" {
		err = e.oddReply(v.get("result").str, "ping")
	}
	return err
}

// ngStream gives the messages of a TCP connection one a Read, as datagrams.
type ngStream struct {
	net.Conn
	r *bufio.Reader
}

func (s *ngStream) Read(b []byte) (int, error) {
	out := b[:0]
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if len(out) == 0 && (c == '\n' || c == '\r') {
			continue
		}
		out = append(out, c)
		if c == ' ' {
			break
		}
		if len(out) > 100 {
			return 0, errBencode
		}
	}
	out, err := copyBencode(s.r, out, len(b))
	return len(out), err
}
