/*
Package transport moves whole SIP messages over sockets, remembers the flow each came by, and finds where a URI lives.

It implements the transport layer of RFC 3261 §18 with symmetric response routing (RFC 3581), locating of servers
(RFC 3263, RFC 2782, RFC 3403), connections kept and answered on (RFC 5626 §3 and its CRLF keepalives), and checks of
TLS server names (RFC 5922 §4). UDP, TCP and TLS are spoken, over IPv4 and IPv6.

A [Layer] owns the sockets of one server. Its [Handler] gets every message together with the [Flow] it came by; answers
leave by [Layer.ReplyFlow], requests by a flow from [Layer.FlowTo] to an address from [Layer.Resolve].

	l := transport.New(transport.Config{Handler: h})
	if err := l.Listen(ctx, "udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"); err != nil {
		return err
	}
	l.Start()
	defer l.Close()

	addrs, err := l.Resolve(ctx, transport.QueryFor(req.URI))
	if err != nil {
		return err
	}
	flow, err := l.FlowTo(addrs[0], transport.Flow{})
	if err != nil {
		return err
	}
	return flow.Send(req, sink)

# Threads

A Handler runs on the goroutine that reads, and must not block. What it sends by UDP leaves in one system call when the
batch of datagrams that was read is done. With Config.StallAfter set, a call that blocks nevertheless loses its socket or
connection to a new goroutine within twice that time; the call itself goes on undisturbed. A call that spins without
ever letting the scheduler in is not rescued. A panic in a Handler is not recovered here.

# Limits of this version

Only Linux tells wildcard UDP sockets which address a datagram was sent to, and reads ICMP errors; elsewhere listen on
each address and rely on time-outs. A connection dialled without a listener of its protocol is advertised under the address of the listener
that suits its destination best.
*/
package transport
