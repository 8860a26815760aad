package rtprelay

import (
	"context"
	"errors"
	"net/netip"
	"strings"
)

// Offer sends U for every stream. When one fails, those before it are deleted if the call is new (ToTag empty).
func (e *RTPProxy) Offer(ctx context.Context, p Params) (Result, error) {
	return e.exchange(ctx, p, 'U')
}

// Answer sends L for every stream. The relay answers L for a call it does not know with a bare 0: ErrNoSession.
func (e *RTPProxy) Answer(ctx context.Context, p Params) (Result, error) {
	return e.exchange(ctx, p, 'L')
}

func (e *RTPProxy) exchange(ctx context.Context, p Params, verb byte) (Result, error) {
	d, err := p.description()
	if err != nil {
		return Result{}, err
	}
	first, second := p.FromTag, p.ToTag
	if p.Swap {
		first, second = second, first
	}
	if err := checkRef(p.Ref, first); err != nil {
		return Result{}, err
	}
	if verb == 'L' && second == "" {
		return Result{}, &RefusedError{Code: "input", Reason: "answer without the answerer's tag"}
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return Result{}, err
	}
	streams := make([]Stream, len(d.Media))
	for i := range d.Media {
		m := &d.Media[i]
		if !m.Relayed() {
			continue
		}
		c := updateCommand{verb: verb, p: &p, media: m, number: i + 1, first: first, second: second, caps: caps, notify: e.Notify}
		if streams[i], err = e.stream(ctx, &c); err != nil {
			if i > 0 || errors.Is(err, ErrUnavailable) {
				e.abandon(ctx, &p, verb)
			}
			return Result{}, err
		}
	}
	return p.result(d, streams), nil
}

// stream asks for one stream.
func (e *RTPProxy) stream(ctx context.Context, c *updateCommand) (Stream, error) {
	line, err := c.build()
	if err != nil {
		return Stream{}, err
	}
	reply, err := e.command(ctx, line)
	if err != nil {
		return Stream{}, err
	}
	s, why := parseStream(reply, e.Default)
	switch {
	case why == replyNoSession && c.verb == 'L':
		return Stream{}, ErrNoSession
	case why != "":
		return Stream{}, e.odd(reply, why)
	}
	if want := c.p.Options.IPv6; want != nil && *want != s.Addr.Is6() {
		return Stream{}, errors.Join(ErrUnsupported, e.odd(reply, "not the address family asked for"))
	}
	return s, nil
}

// abandon removes what an offer that failed half-way may have left. A re-offer has nothing of its own to remove: the session it
// was to change goes on. The caller does not wait: nothing depends on it, a session that stays ends by the relay's own time-out.
func (e *RTPProxy) abandon(ctx context.Context, p *Params, verb byte) {
	if verb != 'U' || p.ToTag != "" {
		return
	}
	ref := p.Ref
	ctx, cancel := e.budget(context.WithoutCancel(ctx))
	go func() {
		defer cancel()
		_ = e.Delete(ctx, ref)
	}()
}

// Delete removes all streams of the leg.
func (e *RTPProxy) Delete(ctx context.Context, r Ref) error { return e.delete(ctx, r, "D ") }

// DeleteWeak takes back one party's weak mark (RTPProxyOptions.Weak): the session ends when neither mark nor Delete's is left.
func (e *RTPProxy) DeleteWeak(ctx context.Context, r Ref) error { return e.delete(ctx, r, "Dw ") }

func (e *RTPProxy) delete(ctx context.Context, r Ref, verb string) error {
	if err := checkRef(r, r.FromTag); err != nil {
		return err
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	line := verb + sessionID(r) + " " + r.FromTag
	if r.ToTag != "" {
		line += " " + r.ToTag
	}
	reply, err := e.command(ctx, line)
	if code, ok := replyCode(reply); ok && (code == 50 || code == 8) { // rtpengine says E8 to all
		return nil
	}
	if err == nil && reply != "0" {
		err = e.odd(reply, "delete")
	}
	return err
}

// replyNoSession is the answer to L for an unknown call.
const replyNoSession = "no session"

// parseStream reads "PORT[ ADDR[ FAMILY]]". why is empty when the answer can be used.
func parseStream(reply string, def netip.Addr) (s Stream, why string) {
	if i := strings.Index(reply, " && "); i >= 0 { // results of sub-commands
		reply = reply[:i]
	}
	p0, p1 := word(reply, 0, len(reply))
	a0, a1 := word(reply, p1, len(reply))
	f0, f1 := word(reply, a1, len(reply))
	if x, _ := word(reply, f1, len(reply)); x != len(reply) {
		return s, "too many words"
	}
	port, ok := port16(reply[p0:p1])
	switch {
	case !ok:
		return s, "no port"
	case port == 0 && (a0 == a1 || reply[a0:a1] == "0.0.0.0"):
		return s, replyNoSession
	case port == 0 || port == 65535: // RTCP would have no port
		return s, "port out of range"
	}
	addr := def
	if a0 < a1 {
		if addr, ok = literal(reply[a0:a1]); !ok {
			return s, "no address"
		}
	}
	switch {
	case !addr.IsValid():
		return s, "no address"
	case addr.IsUnspecified():
		return s, "unspecified address"
	case addr.IsMulticast():
		return s, "multicast address"
	}
	if family := reply[f0:f1]; family != "" && (family == "6") != addr.Is6() {
		return s, "address and family differ"
	}
	return Stream{Addr: addr, Port: port}, ""
}
