package rtprelay_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipkit/sipkit/rtprelay"
)

// A ledgerEngine rewrites descriptions and writes down what it was asked. Ports towards the callee (of the caller's descriptions) are 40000 + 100*leg, towards the
// caller 50000 + 100*leg.
type ledgerEngine struct {
	mu    sync.Mutex
	log   []string
	open  map[string]bool
	delay time.Duration
	// interfere may answer in place of the engine, or do something else first; ok: it has answered.
	interfere func(verb string, p rtprelay.Params) (res rtprelay.Result, err error, ok bool)
}

var relayAddr = netip.MustParseAddr("198.51.100.7")

func (e *ledgerEngine) key(r rtprelay.Ref) string {
	return fmt.Sprintf("%s/%d/%s", r.CallID, r.Leg, r.FromTag)
}

func (e *ledgerEngine) note(verb string, r rtprelay.Ref, more string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, fmt.Sprintf("%s %d %s>%s%s", verb, r.Leg, name(r.FromTag), name(r.ToTag), more))
}

// name is the phone whose tag it is.
func name(tag string) string {
	n, _, _ := strings.Cut(tag, "-")
	return n
}

func (e *ledgerEngine) Offer(ctx context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	return e.exchange(ctx, "offer", p)
}

func (e *ledgerEngine) Answer(ctx context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	return e.exchange(ctx, "answer", p)
}

func (e *ledgerEngine) exchange(ctx context.Context, verb string, p rtprelay.Params) (rtprelay.Result, error) {
	more := " " + p.Source.String()
	if p.Swap {
		more += " swap"
	}
	if p.Node != "" {
		more += " at " + p.Node
	}
	e.note(verb, p.Ref, more)
	if e.delay > 0 {
		select {
		case <-time.After(e.delay):
		case <-ctx.Done():
			return rtprelay.Result{}, fmt.Errorf("%w: %w", rtprelay.ErrUnavailable, ctx.Err())
		}
	}
	if e.interfere != nil {
		if res, err, ok := e.interfere(verb, p); ok {
			return res, err
		}
	}
	d, err := rtprelay.ParseSDP(p.SDP)
	if err != nil {
		return rtprelay.Result{}, err
	}
	if d.Marked && !p.Options.Force {
		return rtprelay.Result{}, rtprelay.ErrAlreadyRelayed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		e.open = make(map[string]bool)
	}
	if verb == "answer" && !e.open[e.key(p.Ref)] {
		return rtprelay.Result{}, rtprelay.ErrNoSession
	}
	base := 40000
	if fromCaller := (verb == "offer") != p.Swap; !fromCaller {
		base = 50000
	}
	streams := make([]rtprelay.Stream, len(d.Media))
	n := 0
	for i := range d.Media {
		if d.Media[i].Relayed() {
			streams[i] = rtprelay.Stream{Addr: relayAddr, Port: uint16(base + 100*p.Leg + 2*i)}
			n++
		}
	}
	if n == 0 {
		return rtprelay.Result{SDP: p.SDP}, nil
	}
	e.open[e.key(p.Ref)] = true
	return rtprelay.Result{SDP: d.Rewrite(streams, rtprelay.Edit{Mark: true}), Streams: n, Node: "fra/1 é"}, nil
}

func (e *ledgerEngine) Delete(_ context.Context, r rtprelay.Ref) error {
	e.note("delete", r, "")
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, e.key(r))
	return nil
}

func (e *ledgerEngine) Query(_ context.Context, r rtprelay.Ref) (rtprelay.Stats, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open[e.key(r)] {
		return rtprelay.Stats{}, rtprelay.ErrNoSession
	}
	return rtprelay.Stats{Packets: [2]uint64{7, 8}}, nil
}

func (e *ledgerEngine) Play(_ context.Context, r rtprelay.Ref, toAnswerer bool, file string, times int) error {
	e.note("play", r, fmt.Sprintf(" %v %s %d", toAnswerer, file, times))
	return nil
}

func (e *ledgerEngine) Stop(_ context.Context, r rtprelay.Ref, toAnswerer bool) error {
	e.note("stop", r, fmt.Sprintf(" %v", toAnswerer))
	return nil
}

func (e *ledgerEngine) Record(_ context.Context, r rtprelay.Ref) error {
	e.note("record", r, "")
	return nil
}

func (e *ledgerEngine) StopRecord(context.Context, rtprelay.Ref) error { return nil }

// take gives what was asked since the last time once the handlers have returned, sorted where order is a matter of chance.
func (e *ledgerEngine) take(sorted bool) string {
	settle()
	e.mu.Lock()
	defer e.mu.Unlock()
	log := e.log
	e.log = nil
	if sorted {
		slices.Sort(log)
	}
	return strings.Join(log, "\n")
}

func (e *ledgerEngine) sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.open)
}
