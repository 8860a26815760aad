package nat

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

var (
	// ErrForged is returned for a token that was not made with Server.Keys.
	ErrForged = errors.New("nat: flow token not signed by this server")
	// ErrGone is returned for a token of ours whose connection is closed, or whose socket is another node's.
	ErrGone = errors.New("nat: flow gone")
)

const (
	purpose = "flow-token"
	sigText = 11
)

// Token writes down a flow for the user part of our Record-Route and Path (RFC 5626 §5.2): our socket, the peer's address and the
// protocol, signed with Server.Keys. It is good after a restart, and on every node with the same keys and that socket. "" for the zero Flow.
func Token(s *sipproxy.Server, f transport.Flow) string { return token(s, f, 0) }

func token(s *sipproxy.Server, f transport.Flow, marks byte) string {
	if f.IsZero() {
		return ""
	}
	var b [1 + 2*(16+2)]byte
	p := append(b[:0], byte(f.Proto())|marks)
	for _, a := range [...]netip.AddrPort{f.Local().AddrPort, f.Remote().AddrPort} {
		ip := a.Addr().Unmap().WithZone("")
		if ip.Is6() {
			p[0] |= tokenIPv6
		}
		p = append(p, ip.AsSlice()...)
		p = binary.BigEndian.AppendUint16(p, a.Port())
	}
	text := base64.RawURLEncoding.EncodeToString(p)
	return text + s.Sign(purpose, text)
}

// Marks on the protocol in a token.
const (
	tokenIPv6  = 0x80
	tokenReuse = 0x40 // the peer is not behind a NAT: when the connection is gone, its URI may lead to it
)

// ParseToken reads a token: our socket and the peer. The error is ErrForged.
func ParseToken(s *sipproxy.Server, token string) (local, remote transport.Addr, err error) {
	local, remote, _, err = parseToken(s, token)
	return local, remote, err
}

func parseToken(s *sipproxy.Server, token string) (local, remote transport.Addr, reuse bool, err error) {
	cut := len(token) - sigText
	if cut <= 0 || cut > 64 || !s.Verify(token[cut:], purpose, token[:cut]) {
		return local, remote, false, ErrForged
	}
	var buf [48]byte
	n, err := base64.RawURLEncoding.Decode(buf[:], []byte(token[:cut]))
	if err != nil || n == 0 {
		return local, remote, false, ErrForged
	}
	reuse = buf[0]&tokenReuse != 0
	buf[0] &^= tokenReuse
	local, remote, err = unpack(buf[:n])
	return local, remote, reuse, err
}

// unpack reads the bytes of a token. What is signed was made by us, but keys may be shared with an older or newer version.
func unpack(b []byte) (local, remote transport.Addr, err error) {
	size := 4
	if len(b) > 0 && b[0]&tokenIPv6 != 0 {
		size = 16
	}
	if len(b) != 1+2*(size+2) {
		return local, remote, ErrForged
	}
	proto := transport.Proto(b[0] &^ tokenIPv6)
	for i, to := range []*transport.Addr{&local, &remote} {
		part := b[1+i*(size+2):]
		ip, _ := netip.AddrFromSlice(part[:size])
		*to = transport.Addr{Proto: proto, AddrPort: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(part[size:]))}
	}
	return local, remote, nil
}

// User gives the Record-Route towards a side its token; it fits recordroute.Router.User. The sender gets one when it is the phone itself (a single
// Via) and Behind a NAT, a user of outbound (RFC 5626 §5.3.2), or connected: clients of TLS mostly have no certificate with which to be called, so the
// connection is used as long as it lives. The receiver gets one when it was reached by a flow.
func User(b *sipproxy.Branch, in bool) string {
	s := b.Of.Server()
	switch {
	case !in && !b.Target.Flow.IsZero() && len(b.Target.Path) == 0:
		return Token(s, b.Flow)
	case in && firstHop(b.Of) && (Behind(b.Of) || outbound(b.Of)):
		return Token(s, b.Of.Flow)
	case in && b.Of.Source.Proto.Reliable() && firstHop(b.Of):
		return token(s, b.Of.Flow, tokenReuse)
	}
	return ""
}

func firstHop(r *sipproxy.Request) bool {
	n := 0
	for range r.Vias() {
		if n++; n > 1 {
			return false
		}
	}
	return n == 1
}

// outbound: the Contact has ob (RFC 5626 §4.3).
func outbound(r *sipproxy.Request) bool {
	for c, err := range r.Contacts() {
		return err == nil && c.URI.Params.Has("ob")
	}
	return false
}

// Flow reads the token in a Route of ours; it fits recordroute.Router.Flow (RFC 5626 §5.3): the flow to send on, the zero Flow
// when there is no token or the request came over that very flow, 403 for a forged token, 430 when the flow is gone.
func Flow(r *sipproxy.Request, own sip.URI) (f transport.Flow, code int) {
	if own.User == "" {
		return f, 0
	}
	local, remote, reuse, err := parseToken(r.Server(), own.User)
	if err != nil {
		return f, 403
	}
	if remote == bare(r.Source) && local == bare(r.Local) {
		return f, 0
	}
	f, ok := r.Server().FlowTo(local, remote)
	if ok && f.Alive() {
		return f, 0
	}
	if _, literal := r.URI.IP(); r.InDialog() && (reuse || !literal) && r.URI.IsSIP() {
		return transport.Flow{}, 0 // a server whose connection was idle: it can be reached anew
	}
	return transport.Flow{}, 430
}

func bare(a transport.Addr) transport.Addr {
	a.Name = ""
	return a
}

// Params marks the Record-Route of calls with a side behind a NAT as Kamailio does, ";nat=yes", for scripts that look for it. It fits
// recordroute.Router.Params.
func Params(b *sipproxy.Branch) sip.Params {
	if Behind(b.Of) || Callee(b)&(Destination|WebSocket) != 0 && !b.Target.Flow.IsZero() {
		return ";nat=yes"
	}
	return ""
}

// Marked reports whether a request within a dialog came by a Record-Route of ours with nat=yes.
func Marked(r *sipproxy.Request) bool {
	for _, own := range r.OwnRoutes() {
		if v, _ := own.URI.Params.Get("nat"); v == "yes" {
			return true
		}
	}
	return false
}
