package transport

import (
	"github.com/sipkit/sipkit/sip"
)

// A Query asks where to send (RFC 3263).
type Query struct {
	Host   string
	Port   uint16 // 0: absent
	Proto  Proto  // 0: not given by the URI
	Secure bool   // sips
	// Hash, when not 0, replaces chance in the choice among weighted or equal targets: the same Hash gives the same order
	// for the same records (stateless proxies, RFC 3261 §16.11).
	Hash uint64
}

// QueryFor reads host, port, transport, maddr and scheme of a URI. An unknown transport gives an empty Host, which resolves to nothing.
func QueryFor(u sip.URI) Query {
	q := Query{Host: u.Host, Port: u.Port, Secure: u.IsSIPS()}
	if !u.IsSIP() {
		return Query{}
	}
	if m, ok := u.Params.Get("maddr"); ok && m != "" {
		q.Host = m
	}
	if s := u.Transport(); s != "" {
		p, ok := ParseProto(s)
		if !ok {
			return Query{}
		}
		q.Proto = p
	}
	return q
}
