package auth

import (
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// offer is what a challenge for the realm offers: what the source can check. A narrowing that leaves nothing is none.
func (d *Digest) offer(realm string) Algorithms {
	can := d.Source.Algorithms(realm) & allAlgorithms
	if d.Algorithms != 0 && can&d.Algorithms != 0 {
		can &= d.Algorithms
	}
	return can
}

func (d *Digest) qop() QOP {
	if d.QOP == 0 {
		return QOPAuth
	}
	return d.QOP
}

// challenge builds 401 or 407 with a challenge for each algorithm, the strongest first (RFC 8760 §2.4). All share a nonce.
func (d *Digest) challenge(r *sipproxy.Request, realm string, stale bool) *sip.Response {
	offer := d.offer(realm)
	if offer == 0 {
		return refuse(r, 403, "") // users without a common algorithm: see Source
	}
	code, header := 401, "WWW-Authenticate"
	if d.Proxy {
		code, header = 407, "Proxy-Authenticate"
	}
	res := r.Reply(code)
	now := time.Now()
	nonce := newNonce(r.Server(), realm, d.guesses.origin(r.Source.AddrPort.Addr()), now)
	for _, a := range strongestFirst {
		if offer&a != 0 {
			res.Add(header, d.challengeText(realm, nonce, a, stale))
		}
	}
	return res
}

func (d *Digest) challengeText(realm, nonce string, a Algorithms, stale bool) string {
	b := make([]byte, 0, 192)
	b = append(b, "Digest realm="...)
	b = appendQuoted(b, realm)
	b = append(b, `, nonce="`...)
	b = append(b, nonce...)
	b = append(b, `", algorithm=`...)
	b = append(b, a.name()...)
	if d.Session {
		b = append(b, sessionSuffix...)
	}
	if q := d.qop().offer(); q != "" {
		b = append(b, `, qop="`...)
		b = append(b, q...)
		b = append(b, '"')
	}
	if d.hashesNames() {
		b = append(b, ", userhash=true"...)
	}
	if stale {
		b = append(b, ", stale=true"...)
	}
	return string(b)
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func samePlace(a, b sip.URI) bool {
	if !a.IsSIP() || !b.IsSIP() {
		return a.Equal(b)
	}
	return strings.EqualFold(a.Host, b.Host) && (a.User == b.User || sip.Unescape(a.User) == sip.Unescape(b.User))
}
