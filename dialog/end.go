package dialog

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// ErrUnknown is returned by End for a dialog that is not known, or over.
var ErrUnknown = errors.New("dialog: no such dialog")

// byeWait bounds the wait for the answers to our BYEs.
const byeWait = 35 * time.Second

// End ends a call. reason, when not empty, goes into the Reason field (RFC 3326) of what the parties get: a whole value ("Q.850;cause=16;text=...")
// when it has a semicolon, else as text. It returns ErrUnknown when there is no such dialog, or it is over. It may be called anywhere; in a
// handler with the handler's ctx.
//
// A confirmed dialog, whose ACK has passed here or whose 2xx is 32 s old, gets its STOP, and both parties a BYE at once, along their route sets, with a CSeq above those seen. End waits for the answers; the
// error tells who could not be reached, the dialog is over all the same. A party that does not know the dialog any more (481) is content.
//
// A call that still rings ends for all its callees, whichever of them id names, or one not heard of yet, or none (CalleeTag ""): those that ring get a CANCEL, the
// caller EndCode, and OnEvent a CANCELLED by Proxy. End does not wait for that. A callee that answers before the CANCEL reaches it has made a call all the same
// (§16.10): START, and STOP and BYE to both as soon as the caller has acknowledged, or after 32 s. The same holds for one that is ended between its
// 2xx and the ACK: a BYE must not overtake the 2xx.
func (t *Tracker) End(ctx context.Context, id ID, reason string) error {
	t.setup()
	d, done := t.shard(id.CallID).give(id, reason)
	switch {
	case done:
		return nil
	case d == nil:
		return ErrUnknown
	}
	m := t.media(ctx, d)
	if !t.stop(d, Proxy, reason, 0, t.now(), m) {
		return ErrUnknown
	}
	var err error
	sipproxy.Block(ctx, func() {
		// Without the handler's request in it: Request waits on goroutines of ours.
		ctx2, cancel := context.WithTimeout(context.Background(), byeWait)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err = t.hangUp(ctx2, d, reason)
	})
	return err
}

// hangUp sends BYE to both parties of a dialog that has been taken out of the table.
func (t *Tracker) hangUp(ctx context.Context, d *dialog, reason string) error {
	var errs [2]error
	var wg sync.WaitGroup
	for i, side := range [2]Side{Caller, Callee} {
		wg.Go(func() {
			res, err := t.send(ctx, d, side, sip.BYE, reason)
			switch {
			case err != nil:
				errs[i] = fmt.Errorf("dialog: BYE to the %s: %w", side, err)
			case !res.IsSuccess() && res.Code != 481:
				errs[i] = fmt.Errorf("dialog: BYE to the %s: %d %s", side, res.Code, res.Reason)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

var errContact = errors.New("no usable Contact")

// send sends a request in the dialog to one party, as if from the other.
func (t *Tracker) send(ctx context.Context, d *dialog, to Side, m sip.Method, reason string) (*sip.Response, error) {
	c, there, here := t.ends(d, to, m)
	contact, err := sip.ParseNameAddr(there.contact)
	if err != nil || contact.Star || !contact.URI.IsSIP() {
		return nil, errContact
	}
	req := sip.NewRequest(m, inRequestLine(contact.URI))
	route(req, &there)
	callee := c.to + ";tag=" + d.tag
	if to == Callee {
		req.Add("From", c.from)
		req.Add("To", callee)
	} else {
		req.Add("From", callee)
		req.Add("To", c.from)
	}
	req.Add("Call-ID", c.callID)
	req.Add("CSeq", strconv.FormatUint(uint64(here.seq), 10)+" "+string(m))
	if reason != "" {
		req.Add("Reason", reasonValue(reason))
	}
	return c.srv.Request(ctx, req, there.next(c.srv, contact.URI)), nil
}

// ends gives the party that a request of ours goes to and the one that it seems to come from, that one's CSeq raised for a BYE. A probe repeats the
// number seen last: it is not lower, as §12.2.2 wants it, and leaves the next one to the party.
func (t *Tracker) ends(d *dialog, to Side, m sip.Method) (c *call, there, here end) {
	s := t.shard(d.call.callID)
	s.mu.Lock()
	defer s.mu.Unlock()
	from := &d.ends[2-to]
	if m == sip.BYE || from.seq == 0 {
		from.seq++
	}
	return d.call, d.ends[to-1], *from
}

// inRequestLine takes from a contact what a Request-URI may not hold (§19.1.1).
func inRequestLine(u sip.URI) sip.URI {
	u.Headers = ""
	return u.WithoutParam("method")
}

// route writes the route set (§12.2.1.1); a strict router wants its own URI in the Request-URI and the remote target last.
func route(req *sip.Request, e *end) {
	if e.routes == "" {
		return
	}
	req.Add("Route", e.routes)
	for first, err := range req.Routes() {
		if err == nil && !first.URI.Params.Has("lr") {
			req.Add("Route", "<"+req.URI.String()+">")
			req.PopFirst("Route")
			req.SetURI(inRequestLine(first.URI))
		}
		return
	}
}

// next says how to reach a party that has no proxy between us. Its Contact may be an address that only its own network knows, or name a port
// where nobody listens: then the way its messages came by is better. Otherwise the Route or the Contact says it.
func (e *end) next(srv *sipproxy.Server, contact sip.URI) sipproxy.Target {
	if e.routes != "" || e.proto == 0 {
		return sipproxy.Target{}
	}
	ip, literal := contact.IP()
	hidden := literal && ip != e.remote.Addr().Unmap() && private(ip) || !literal && strings.HasSuffix(strings.ToLower(contact.Host), ".invalid")
	connected := e.proto != transport.UDP && (!literal || ip == e.remote.Addr().Unmap())
	if !hidden && !connected {
		return sipproxy.Target{}
	}
	remote := transport.Addr{Proto: e.proto, AddrPort: e.remote}
	if f, ok := srv.FlowTo(transport.Addr{Proto: e.proto, AddrPort: e.local}, remote); ok {
		return sipproxy.Target{Flow: f}
	}
	if hidden && e.proto == transport.UDP {
		return sipproxy.Target{Next: remote}
	}
	return sipproxy.Target{}
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback() || a.IsUnspecified() || sharedSpace.Contains(a)
}

func reasonValue(reason string) string {
	if strings.ContainsRune(reason, ';') {
		return reason
	}
	return `SIP;text="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(reason) + `"`
}
