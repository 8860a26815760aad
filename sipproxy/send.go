package sipproxy

import (
	"slices"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// largeUDP is the size beyond which a request may not leave by UDP (§18.1.1).
const largeUDP = 1300

// try sends the branch to its next address, or ends it when none is left. Called on the task, without r.mu.
func (b *Branch) try() {
	if b.base == nil && b.Request == nil {
		if res := b.prepare(); res != nil {
			b.conclude(res)
			return
		}
	} else {
		b.Try++
	}
	var err error = transport.ErrNoAddress
	for ; b.Try < len(b.addrs); b.Try++ {
		if err = b.send(); err == nil {
			return
		}
		b.Of.srv.trs.Report(b.addrs[b.Try], false)
	}
	b.conclude(b.Of.made(503, err))
}

// conclude ends the branch with a response of our own. Called on the task, without r.mu.
func (b *Branch) conclude(res *sip.Response) {
	r := b.Of
	r.mu.Lock()
	if !b.ended {
		b.deliver(res) // what is to be woken is this task
	}
	r.mu.Unlock()
}

// prepare makes the copy of the request and finds where it goes (§16.6 steps 1 to 7). What it returns ends the branch.
func (b *Branch) prepare() *sip.Response {
	r := b.Of
	b.Request = r.Request.Clone()
	r.unroute(b.Request)
	if !b.Target.URI.IsZero() {
		b.Request.SetURI(requestURI(b.Target.URI))
	} else if r.strict || r.URI != r.Request.URI {
		b.Request.SetURI(r.URI)
	}
	for i := len(b.Target.Path) - 1; i >= 0; i-- {
		b.Request.Prepend("Route", "<"+b.Target.Path[i].String()+">")
	}
	b.Request.SetMaxForwards(r.forwards())
	r.shareBreadth(b.Request)
	for _, f := range r.onBranch {
		f(b)
	}
	next, res := b.route()
	if res != nil {
		return res
	}
	if err := b.locate(next); err != nil {
		return r.made(503, err)
	}
	b.base = b.Request
	return nil
}

// requestURI takes from a contact what a Request-URI may not hold (§19.1.1).
func requestURI(u sip.URI) sip.URI {
	u.Headers = ""
	if u.Params.Has("method") {
		u = u.WithoutParam("method")
	}
	return u
}

// route postprocesses the routing information (§16.6 step 6) and returns the URI to resolve; it is zero when the target says where to go.
func (b *Branch) route() (next sip.URI, refuse *sip.Response) {
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
		next = first.URI
		break
	}
	if !b.Target.Flow.IsZero() || !b.Target.Next.IsZero() {
		return sip.URI{}, b.secure()
	}
	if !next.IsSIP() {
		return next, b.Of.made(416, errScheme)
	}
	return next, b.secure()
}

// secure refuses to send a sips request over a hop that is known not to be secure (RFC 5630 §5.3).
func (b *Branch) secure() *sip.Response {
	if !b.Request.URI.IsSIPS() {
		return nil
	}
	switch {
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
	res := b.Of.made(480, errSecurity)
	res.Set("Warning", `380 sipkit "SIPS Not Allowed"`)
	return res
}

// locate fills in the addresses to try (§16.6 step 7, RFC 3263).
func (b *Branch) locate(next sip.URI) error {
	switch {
	case !b.Target.Flow.IsZero():
		b.addr[0] = b.Target.Flow.Remote()
		b.addrs = b.addr[:]
		return nil
	case !b.Target.Next.IsZero():
		b.addr[0] = b.Target.Next
		b.addrs = b.addr[:]
		return nil
	}
	q := transport.QueryFor(next)
	q.Secure = q.Secure || b.Request.URI.IsSIPS()
	if b.Of.tx == nil {
		q.Hash = b.Of.stableHash()
	}
	trs := b.Of.srv.trs
	addrs, ok := trs.ResolveNow(b.addr[:0], q)
	if ok {
		b.addrs = addrs
		return nil
	}
	var err error
	ctx := (*requestContext)(b.Of)
	Block(ctx, func() { b.addrs, err = trs.Resolve(ctx, q) })
	return err
}

// send sends the branch to the address b.Try points at (§16.6 steps 8 to 10). Called on the task, without r.mu.
func (b *Branch) send() error {
	r := b.Of
	flow, err := b.flow()
	if err != nil {
		return err
	}
	again := b.Try+1 < len(b.addrs) || !b.large && b.base.Len() > largeUDP/2
	b.dress(flow, again)
	if again && b.tooLarge(flow) {
		b.large = true
		b.addrs = slices.Insert(slices.Clone(b.addrs), b.Try, transport.Addr{Proto: transport.TCP, AddrPort: b.addrs[b.Try].AddrPort, Name: b.addrs[b.Try].Name})
		return b.send()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.ended || b.fork.over {
		return nil // decided while the hooks ran
	}
	if b.Try+1 >= len(b.addrs) {
		b.base = nil // the last try: nobody needs it again
	}
	b.client, err = r.srv.txs.Request(b.Request, flow, (*clientUser)(b))
	if err == nil {
		b.arm()
	}
	return err
}

// flow fixes socket and connection for the next try.
func (b *Branch) flow() (transport.Flow, error) {
	if f := b.Target.Flow; !f.IsZero() {
		if !f.Alive() {
			return f, errFlow
		}
		return f, nil
	}
	return b.Of.srv.trs.FlowTo(b.addrs[b.Try], b.Of.Flow)
}

// dress makes Branch.Request ready for a flow: our Via, then the hooks. The base stays bare when a further try may need it.
func (b *Branch) dress(flow transport.Flow, again bool) {
	r := b.Of
	b.Request = b.base
	if again {
		b.Request = b.base.Clone()
	}
	b.Flow, b.Local, b.Remote = flow, flow.Local(), flow.Remote()
	r.srv.pushVia(b.Request, flow, r.branchParam())
	for _, f := range r.onSend {
		f(b)
	}
}

// tooLarge reports whether the request as it stands wants TCP instead of the UDP flow at hand.
func (b *Branch) tooLarge(flow transport.Flow) bool {
	s := b.Of.srv
	return flow.Proto() == transport.UDP && !b.large && !s.LargeUDP && b.Target.Flow.IsZero() &&
		b.Request.Len() > largeUDP && s.hasTCP
}
