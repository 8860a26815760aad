package registrar

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A Registrar answers REGISTER (RFC 3261 §10.3) and finds where users are. Store must be set; every other field has a default.
// It is safe for concurrent use; its fields must not change once it serves, and it must not be copied then.
type Registrar struct {
	Store Store

	// Domains are the domains whose users register here. Addresses and other names of the server count as the first of them. Empty:
	// everything that Server.IsLocal accepts is one domain.
	Domains []string

	DefaultExpires time.Duration // when the phone names none; 1 h
	MinExpires     time.Duration // shorter ones get 423 with Min-Expires; 60 s
	MaxExpires     time.Duration // longer ones are shortened; 24 h
	RaiseExpires   bool          // raise what is too short instead of 423

	Contacts     int // bindings per address-of-record; 10; beyond, those whose connection is gone make room, else 403
	BindingBytes int // size of what a REGISTER has stored of one contact: URI, parameters, Path, Call-ID; 4096; beyond: 413
	ServiceRoute []sip.URI
	FlowTimer    time.Duration // Flow-Timer of outbound registrations (RFC 5626 §6); 0: none
	GRUU         bool          // give out GRUUs (RFC 5627) to phones that support them

	// Received says whether the contact of a registration is not where its phone can be reached, so that the source of
	// the REGISTER counts instead: nat.Behind, for instance. nil: for connections only.
	Received func(*sipproxy.Request) bool
	// Flags gives the 32 branch flags stored with the bindings of a registration; nil: 0.
	Flags func(*sipproxy.Request) uint32

	// TrustPath says whether the Path of a request was written by a proxy that calls may be sent through, one of ours; false: 403. nil: always,
	// which is right where every REGISTER is authenticated, for then a Path leads no further than a Contact would.
	TrustPath func(*sipproxy.Request) bool

	Timeout    time.Duration // bound on the wait for a Store that waits (see Waiter); 5 s; then 503
	RetryAfter time.Duration // in the 503 when the store is unavailable; 10 s

	count counters
	pool  sync.Pool // of *registration
	date  dateText
}

// Stats are counters since the Registrar was made.
type Stats struct {
	Registered  uint64 // REGISTERs that were accepted
	Refused     uint64 // answered with 4xx
	Unavailable uint64 // answered with 503, the store being away or full
	Lookups     uint64
	NotFound    uint64 // lookups that found nobody
}

type counters struct{ registered, refused, unavailable, lookups, notFound atomic.Uint64 }

// Stats returns the counters.
func (g *Registrar) Stats() Stats {
	c := &g.count
	return Stats{c.registered.Load(), c.refused.Load(), c.unavailable.Load(), c.lookups.Load(), c.notFound.Load()}
}

// localDomain stands for all names of a server without Domains.
const localDomain = "local"

// AOR is the key of the user that u names (§10.3 step 5); false: not a user of ours. With a nil server only Domains count.
func (g *Registrar) AOR(s *sipproxy.Server, u sip.URI) (AOR, bool) {
	user, domain, ok := g.userAt(s, &u)
	if !ok {
		return "", false
	}
	return AOR(user + "@" + domain), true
}

func (g *Registrar) userAt(s *sipproxy.Server, u *sip.URI) (user, domain string, ok bool) {
	if !isSIP(u) || u.User == "" {
		return "", "", false
	}
	domain, ok = g.domain(s, u)
	return sip.Unescape(u.User), domain, ok
}

// isSIP is URI.IsSIP, for which the usual URI need not be copied.
func isSIP(u *sip.URI) bool { return u.Scheme == "sip" || u.IsSIP() }

func (g *Registrar) domain(s *sipproxy.Server, u *sip.URI) (string, bool) {
	if d := g.named(u.Host); d != "" {
		return strings.ToLower(d), true
	}
	if s == nil || !s.IsLocal(*u) {
		return "", false
	}
	if len(g.Domains) > 0 {
		return strings.ToLower(g.Domains[0]), true
	}
	return localDomain, true
}

// named is the one of Domains that a host is.
func (g *Registrar) named(host string) string {
	host = strings.TrimSuffix(host, ".")
	for _, d := range g.Domains {
		if strings.EqualFold(d, host) {
			return d
		}
	}
	return ""
}

// Accept is for sipproxy.Server.Accept: with a Store that does not wait, a REGISTER needs no transaction, which saves a quarter of its cost and the
// memory for 32 seconds after it. A copy of one, which has its Call-ID and CSeq, is then answered with the bindings as they are. Everything else is stateful.
func (g *Registrar) Accept(r *sipproxy.Request) sipproxy.Mode {
	if r.Method == sip.REGISTER && !g.waits() {
		return sipproxy.Stateless
	}
	return sipproxy.Stateful
}

// ServeSIP answers a REGISTER; other methods get 405. A REGISTER whose To is no user of ours gets 404.
func (g *Registrar) ServeSIP(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if r.Method != sip.REGISTER {
		res := r.Reply(405)
		if res != nil {
			res.Set("Allow", string(sip.REGISTER))
		}
		return res
	}
	res := g.register(ctx, r)
	switch {
	case res.Code == 503:
		g.count.unavailable.Add(1)
	case res.Code >= 300:
		g.count.refused.Add(1)
	default:
		g.count.registered.Add(1)
	}
	return res
}

// waits: the store has to be asked through Block.
func (g *Registrar) waits() bool {
	switch s := g.Store.(type) {
	case *Memory: // the usual ones are told by their type, which is quicker
		return false
	case *Journal:
		return s.Waits()
	case Waiter:
		return s.Waits()
	}
	return true
}

// wait runs f, which asks a store that may wait, without holding up the reader, and bounds how long.
func (g *Registrar) wait(ctx context.Context, f func(context.Context) error) (err error) {
	bounded, cancel := context.WithTimeout(ctx, cmp.Or(g.Timeout, 5*time.Second))
	defer cancel()
	sipproxy.Block(ctx, func() { err = f(bounded) })
	return err
}

// unavailable answers an error of the store.
func (g *Registrar) unavailable(ctx context.Context, r *sipproxy.Request, err error) *sip.Response {
	switch {
	case errors.Is(err, ErrTooLarge):
		return r.Reply(413)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull), errors.Is(err, ErrClosed), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		res := r.Reply(503)
		res.Set("Retry-After", seconds(cmp.Or(g.RetryAfter, 10*time.Second)))
		return res
	}
	return r.Fail(ctx, err)
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
