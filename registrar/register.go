package registrar

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A registration is what one REGISTER asks for. They are reused: most hold one contact and need nothing else.
type registration struct {
	aor      AOR // in named until keep, after which stores may hold it
	named    []byte
	callID   string
	cseq     uint32
	contacts []Binding // one with expires=0 has the instant of the request as its Expires
	star     bool
	outbound bool
	server   *sipproxy.Server
	copies   bool // no transaction absorbs copies of the request
	now      time.Time
	limit    int
	room     []Binding // what apply works in
	next     []Binding // what the last apply made: the bindings as they are now; room or contacts
	path     []string  // the values of Path
	packed   []byte    // what refresh works in

	update func([]Binding) ([]Binding, error) // apply, bound once
}

// refusal is a code and reason on the way out of a Store.Update.
type refusal struct {
	code   int
	reason string
	min    time.Duration // Min-Expires
}

func (e *refusal) Error() string { return "registrar: " + strconv.Itoa(e.code) + " " + e.reason }

var (
	errOrder    = &refusal{code: 400, reason: "Bad Request (CSeq not higher)"}
	errTooMany  = &refusal{code: 403, reason: "Forbidden (too many contacts)"}
	errTo       = &refusal{code: 400, reason: "Bad Request (To)"}
	errNobody   = &refusal{code: 404}
	errContact  = &refusal{code: 400, reason: "Bad Request (Contact)"}
	errStar     = &refusal{code: 400, reason: "Bad Request (Contact: *)"}
	errQ        = &refusal{code: 400, reason: "Bad Request (q)"}
	errRegID    = &refusal{code: 400, reason: "Bad Request (reg-id)"}
	errFlows    = &refusal{code: 400, reason: "Bad Request (several contacts with reg-id)"}
	errPath     = &refusal{code: 400, reason: "Bad Request (Path)"}
	errStranger = &refusal{code: 403, reason: "Forbidden (Path)"}
	errLoop     = &refusal{code: 403, reason: "Forbidden (Contact is the address-of-record)"}
	errFirstHop = &refusal{code: 439}
	errBytes    = &refusal{code: 413}
)

func (g *Registrar) refuse(r *sipproxy.Request, e *refusal) *sip.Response {
	res := r.Reply(e.code)
	if e.reason != "" {
		res.Reason = e.reason
	}
	if e.min > 0 {
		res.Set("Min-Expires", seconds(e.min))
	}
	return res
}

// register is §10.3.
func (g *Registrar) register(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if r.Has("Require") {
		if res := unsupported(r); res != nil {
			return res
		}
	}
	reg := g.take()
	var list []Binding
	err := g.read(r, reg)
	switch {
	case err != nil:
	case len(reg.contacts) == 0 && !reg.star:
		reg.keep()
		list, err = g.bindings(ctx, reg.aor) // a query (§10.2.3)
	default:
		err = g.store(ctx, reg)
		list = reg.next
	}
	if err != nil {
		return g.failed(ctx, r, reg, err)
	}
	res := g.success(r, reg, list)
	g.give(reg)
	return res
}

func (g *Registrar) failed(ctx context.Context, r *sipproxy.Request, reg *registration, err error) *sip.Response {
	var no *refusal
	if errors.As(err, &no) {
		g.give(reg)
		return g.refuse(r, no)
	}
	return g.unavailable(ctx, r, err) // the store may still be at work on reg: it is not used again
}

// name sets aor, without a string of its own: a refresh needs none.
func (reg *registration) name(user, domain string) {
	reg.named = append(append(append(reg.named[:0], user...), '@'), domain...)
	reg.aor = AOR(unsafe.String(unsafe.SliceData(reg.named), len(reg.named)))
}

// keep makes aor what it is for good.
func (reg *registration) keep() { reg.aor = AOR(reg.named) }

func (g *Registrar) take() *registration {
	if reg, ok := g.pool.Get().(*registration); ok {
		return reg
	}
	reg := new(registration)
	reg.update = reg.apply
	return reg
}

// give lets a registration be reused. What it holds of this message goes with the next one.
func (g *Registrar) give(reg *registration) {
	reg.contacts, reg.next, reg.path = reg.contacts[:0], nil, nil
	reg.star, reg.outbound = false, false // read sets the others
	if cap(reg.contacts) <= pooledContacts && cap(reg.room) <= pooledContacts && cap(reg.packed)+cap(reg.named) <= scratchBytes {
		g.pool.Put(reg)
	}
}

// pooledContacts is how much a registration may have grown and still be reused.
const pooledContacts = 16

// unsupported refuses extensions in Require that a registrar does not know (§10.3 step 2).
func unsupported(r *sipproxy.Request) *sip.Response {
	var res *sip.Response
	for tag := range r.Requires() {
		switch strings.ToLower(tag) {
		case "path", "outbound", "gruu":
			continue
		}
		if res == nil {
			res = r.Reply(420)
		}
		res.Add("Unsupported", tag)
	}
	return res
}

func (g *Registrar) store(ctx context.Context, reg *registration) error {
	if !g.waits() {
		if done, err := g.refresh(ctx, reg); done {
			return err
		}
		reg.keep()
		return g.Store.Update(ctx, reg.aor, reg.update)
	}
	return g.storeWaiting(ctx, reg)
}

func (g *Registrar) storeWaiting(ctx context.Context, reg *registration) error {
	reg.keep()
	return g.wait(ctx, func(ctx context.Context) error { return g.Store.Update(ctx, reg.aor, reg.update) })
}

// bindings are those of aor now. They are read-only.
func (g *Registrar) bindings(ctx context.Context, aor AOR) ([]Binding, error) {
	if !g.waits() {
		return g.Store.Lookup(ctx, aor)
	}
	return g.awaited(ctx, aor)
}

func (g *Registrar) awaited(ctx context.Context, aor AOR) (list []Binding, err error) {
	err = g.wait(ctx, func(ctx context.Context) (err error) {
		list, err = g.Store.Lookup(ctx, aor)
		return err
	})
	return list, err
}
