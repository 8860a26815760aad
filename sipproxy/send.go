package sipproxy

import (
	"log/slog"
	"slices"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// largeUDP is the size beyond which a request may not leave by UDP (§18.1.1).
const largeUDP = 1300

// viaRoom is how much our Via adds at most, names of unusual length aside.
const viaRoom = 512

// A step is what a branch on its way out needs next.
type step uint8

const (
	stepCopy    step = iota // make the copy of the request
	stepLocate              // find where it goes
	stepResolve             // wait for the DNS
	stepDress               // make the copy for one address
	stepSend                // hand it to the transaction layer
	stepDone                // under way, or ended
)

// try sends a branch without state, or ends it. Called on the task: hooks and the wait for the DNS happen here, the rest on the stack of whoever resumed
// the task.
func (b *Branch) try() {
	for {
		b.Of.task.outside((*tryJob)(b))
		if b.wants == wantNothing {
			return
		}
		b.consult()
	}
}

// consult does what a branch on its way out wants of the task. Called without r.mu.
func (b *Branch) consult() {
	switch b.wants {
	case wantBranchHooks:
		for _, f := range b.Of.hung().branch {
			f(b)
		}
	case wantResolve:
		b.resolve()
	case wantSendHooks:
		for _, f := range b.Of.hung().send {
			f(b)
		}
	}
	if b.Request == nil {
		b.robbed()
	}
	if b.barred != 0 {
		b.bar()
	}
}

// robbed bars a branch whose request a hook has set to nil.
func (b *Branch) robbed() {
	b.Of.srv.log().Error("a hook left a branch without its request", slog.String("call-id", b.Of.CallID()))
	b.Request = b.Of.Request
	b.barred = 500
}

// A want is what tryJob leaves to the task. Only the task and its jobs use it: step is open to others once the branch is under way.
type want uint8

const (
	wantNothing want = iota
	wantBranchHooks
	wantResolve
	wantSendHooks
)

// tryJob goes on with a branch until a hook or the DNS is next, or it is under way or ended.
type tryJob Branch

func (j *tryJob) run() (park bool) {
	b := (*Branch)(j)
	b.wants = b.advance()
	return false
}

// advance takes the branch through its steps.
func (b *Branch) advance() want {
	for {
		switch b.step {
		case stepCopy:
			b.copy()
			b.step = stepLocate
			if len(b.Of.hung().branch) > 0 {
				return wantBranchHooks
			}
		case stepLocate:
			b.step = b.locate()
			if b.step == stepResolve {
				return wantResolve
			}
		case stepResolve:
			b.step = stepDress
		case stepDress:
			b.step = b.dress()
			if b.step == stepSend && len(b.Of.hung().send) > 0 {
				return wantSendHooks
			}
		case stepSend:
			if b.send() {
				return wantNothing // from here on its answers move it
			}
		case stepDone:
			return wantNothing
		}
	}
}

// nextAddress goes on to the next address after err, or ends the branch.
func (b *Branch) nextAddress(err error) step {
	if b.Try < len(b.addrs) {
		b.Of.srv.trs.Report(b.addrs[b.Try], false)
		b.Try++
	}
	if b.Try < len(b.addrs) {
		return stepDress
	}
	return b.conclude(b.Of.made(503, err))
}

// conclude ends the branch with a response of our own. Called on the task, without r.mu.
func (b *Branch) conclude(res *sip.Response) step {
	r := b.Of
	if r.tx == nil {
		b.refused = res
		return stepDone
	}
	r.mu.Lock()
	if !b.ended {
		b.deliver(res) // what is to be woken is this task
	}
	r.mu.Unlock()
	return stepDone
}

// copy makes the copy of the request (§16.6 steps 1 to 3).
func (b *Branch) copy() {
	r := b.Of
	b.Request = r.Request.Clone()
	r.unroute(b.Request)
	if !b.Target.URI.IsZero() {
		b.Request.SetURI(b.targetURI())
	} else if r.strict || !sameURI(&r.URI, &r.Request.URI) {
		b.Request.SetURI(r.URI)
	}
	if len(b.Target.Path) > 0 {
		b.pushPath()
	}
	b.Request.SetMaxForwards(r.forwards())
	b.shareBreadth()
}

// sameURI spares its callers the copies that comparing in place makes.
//
//go:noinline
func sameURI(a, b *sip.URI) bool { return *a == *b }

//go:noinline
func (b *Branch) pushPath() {
	for i := len(b.Target.Path) - 1; i >= 0; i-- {
		b.Request.Prepend("Route", "<"+b.Target.Path[i].String()+">")
	}
}

// targetURI is what the Request-URI becomes. A sip request stays one when its contact is a sips URI, and goes there by TLS: from here on alone it would
// not be the end-to-end sips that it claims to be (RFC 5630 §5.3).
func (b *Branch) targetURI() sip.URI {
	u := requestURI(b.Target.URI)
	if u.IsSIPS() && !b.Of.URI.IsSIPS() {
		u.Scheme, b.tls = "sip", true
	}
	return u
}

// requestURI takes from a contact what a Request-URI may not hold (§19.1.1).
func requestURI(u sip.URI) sip.URI {
	u.Headers = ""
	if u.Params.Has("method") {
		u = u.WithoutParam("method")
	}
	return u
}

// route postprocesses the routing information (§16.6 step 6) and returns the URI to resolve.
func (b *Branch) route() (next sip.URI, refuse *sip.Response) {
	next = b.Request.URI
	if b.Request.Has("Route") {
		if next, refuse = b.firstRoute(); refuse != nil {
			return next, refuse
		}
	}
	if !next.IsSIP() {
		return next, b.Of.made(416, errScheme)
	}
	return next, b.secure()
}

// firstRoute is the URI of the topmost Route, which a strict router finds in the Request-URI.
func (b *Branch) firstRoute() (next sip.URI, refuse *sip.Response) {
	next = b.Request.URI
	for first, err := range b.Request.Routes() {
		if err != nil {
			return next, b.Of.made(400, err)
		}
		if !first.URI.Params.Has("lr") {
			// A strict router wants its own URI in the Request-URI and ours last.
			b.Request.Add("Route", "<"+b.Request.URI.String()+">")
			b.Request.PopFirst("Route")
			b.Request.SetURI(requestURI(first.URI))
		}
		return first.URI, nil
	}
	return next, nil
}

// needsTLS: the request is for a sips URI, or for the sips contact of a sip URI.
func (b *Branch) needsTLS() bool { return b.tls || b.Request.URI.IsSIPS() }

// secure refuses to make less of a sips request, or to send one that needs TLS over a hop that is known not to be secure (RFC 5630 §5.3).
func (b *Branch) secure() *sip.Response {
	switch {
	case b.Of.URI.IsSIPS() && !b.Request.URI.IsSIPS():
		return b.insecure(`380 sipkit "SIPS Not Allowed"`)
	case !b.needsTLS():
		return nil
	case !b.Target.Flow.IsZero():
		if b.Target.Flow.Proto().Secure() {
			return nil
		}
	case !b.Target.Next.IsZero():
		if b.Target.Next.Proto.Secure() {
			return nil
		}
	default:
		return nil // the query asks for TLS only
	}
	if b.tls {
		return b.insecure(`381 sipkit "SIPS Required"`)
	}
	return b.insecure(`380 sipkit "SIPS Not Allowed"`)
}

func (b *Branch) insecure(warning string) *sip.Response {
	res := b.Of.made(480, errSecurity)
	res.Set("Warning", warning)
	return res
}

// locate fills in the addresses to try (§16.6 steps 6 and 7, RFC 3263).
func (b *Branch) locate() step {
	b.base = b.Request
	switch {
	case !b.Target.Flow.IsZero():
		b.addr[0] = b.Target.Flow.Remote()
	case !b.Target.Next.IsZero():
		b.addr[0] = b.Target.Next
	default:
		return b.lookUp()
	}
	b.addrs = b.addr[:]
	if b.Request.Has("Route") {
		if _, res := b.firstRoute(); res != nil {
			return b.conclude(res)
		}
	}
	if res := b.secure(); res != nil {
		return b.conclude(res)
	}
	return stepDress
}

// lookUp is locate where the target does not say where to go.
func (b *Branch) lookUp() step {
	if b.direct() {
		return stepDress
	}
	next, res := b.route()
	if res != nil {
		return b.conclude(res)
	}
	q := transport.QueryFor(next)
	q.Secure = q.Secure || b.needsTLS()
	if b.Of.tx == nil {
		q.Hash = b.Of.stableHash()
	}
	addrs, ok := b.Of.srv.trs.ResolveNow(b.addr[:0], q)
	if !ok {
		b.query = new(transport.Query) // and not &q, which would make every one escape
		*b.query = q
		return stepResolve
	}
	b.addrs = addrs
	if len(addrs) == 0 {
		return b.nextAddress(transport.ErrNoAddress)
	}
	return stepDress
}

// direct is lookUp for what nearly every request in a call has, and every one to a gateway: no Route, and a Request-URI with an IPv4 address and no parameters.
func (b *Branch) direct() bool {
	u := &b.Request.URI
	if u.Scheme != "sip" || u.Params != "" || b.Of.URI.Scheme != "sip" || b.tls || b.Request.Has("Route") {
		return false
	}
	to, ok := b.Of.srv.trs.Literal(u.Host, u.Port)
	if !ok {
		return false
	}
	b.addr[0] = to
	b.addrs = b.addr[:]
	return true
}

// resolve waits for the DNS, on the task.
func (b *Branch) resolve() {
	ctx := (*requestContext)(b.Of)
	var err error
	Block(ctx, func() { b.addrs, err = b.Of.srv.trs.Resolve(ctx, *b.query) })
	b.query = nil
	b.step = stepDress
	if err == nil && len(b.addrs) == 0 {
		err = transport.ErrNoAddress
	}
	if err != nil {
		b.addrs = nil
		b.step = b.nextAddress(err)
	}
}

// dress makes Branch.Request ready for the address b.Try points at: the flow and our Via. A base stays, and bare, when a further try may need it.
func (b *Branch) dress() step {
	r := b.Of
	if err := b.connect(); err != nil {
		return b.nextAddress(err)
	}
	b.Request, b.base = b.base, nil
	if !b.shared {
		b.shareBreadth() // once more, see overloaded
	}
	if b.Try+1 < len(b.addrs) || b.Flow.Proto() == transport.UDP && !b.large && (len(r.hung().send) > 0 || b.Request.Len() > largeUDP-viaRoom) {
		b.base = r.srv.snapshot(b.Request)
	}
	var branch [96]byte
	r.srv.pushVia(b.Request, b.Flow, r.appendBranch(branch[:0]))
	return stepSend
}

// snapshot is a copy of a request for a further try. Few are ever used, and one that was not makes the next one.
func (s *Server) snapshot(r *sip.Request) *sip.Request {
	c := s.spare.Swap(nil)
	if c == nil {
		return r.Clone()
	}
	r.CloneInto(c)
	return c
}

// dropBase lets the copy for a further try go, which nobody else has ever seen.
func (b *Branch) dropBase() {
	if b.base != nil {
		b.Of.srv.spare.Store(b.base)
		b.base = nil
	}
}

// connect fixes socket and connection for the next try.
func (b *Branch) connect() error {
	if b.Target.Flow.IsZero() {
		flow, err := b.Of.srv.trs.FlowTo(b.addrs[b.Try], b.Of.Flow)
		if err != nil {
			return err
		}
		b.Flow = flow
	} else if b.Flow = b.Target.Flow; !b.Flow.Alive() {
		return errFlow
	}
	b.Local = b.Flow.Local() // one after the other: fewer copies
	b.Remote = b.Flow.Remote()
	return nil
}

// send hands the branch to the transaction layer (§16.6 step 10), or to the socket when there is no state. It reports whether the branch
// is out of the task's hands.
func (b *Branch) send() bool {
	if b.tooLarge() {
		// The transport is chosen once more: TCP first, and UDP if that is refused, or was lately.
		at := b.addrs[b.Try]
		at.Proto = transport.TCP
		b.large = true
		if !b.Of.srv.trs.Failed(at) {
			if b.Of.tx == nil {
				b.instead = &byUDP{srv: b.Of.srv, req: b.Request, flow: b.Flow}
			}
			b.addrs = slices.Insert(slices.Clone(b.addrs), b.Try, at)
			b.step = stepDress
			return false
		}
	}
	err := b.start()
	if err != nil {
		b.step = b.nextAddress(err)
	}
	return err == nil
}

// start begins the client transaction. Its answers may come before it returns.
func (b *Branch) start() error {
	r := b.Of
	if r.tx == nil {
		b.step = stepDone
		if u := b.instead; u != nil {
			b.instead = nil
			return u.after(b.Flow, b.Request)
		}
		return b.Flow.Send(b.Request, nil)
	}
	r.mu.Lock()
	err := b.open()
	r.mu.Unlock()
	return err
}

// open is start with state, under r.mu.
func (b *Branch) open() error {
	b.step = stepDone
	if b.ended || b.fork.over { // decided while the hooks ran
		return nil
	}
	if b.Try+1 >= len(b.addrs) {
		b.dropBase() // the last try: nobody needs it again
	}
	client, err := b.Of.srv.txs.Request(b.Request, b.Flow, (*clientUser)(b))
	if err == nil {
		b.client = client
		b.arm()
	}
	return err
}

// tooLarge reports whether the request as it stands wants TCP instead of the UDP flow at hand.
func (b *Branch) tooLarge() bool {
	s := b.Of.srv
	return !b.large && !s.LargeUDP && s.hasTCP && b.base != nil && b.Flow.Proto() == transport.UDP && b.Target.Flow.IsZero() &&
		b.Request.Len() > largeUDP
}
