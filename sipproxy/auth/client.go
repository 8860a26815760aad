package auth

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/sipkit/sipkit/sip"
)

// Authorize answers a 401 or 407: it writes credentials for every realm of the challenge into req, by the strongest algorithm known
// for each (RFC 8760 §2.5), with the user's name hashed where the challenge asks for it (RFC 7616 §3.4.4), and reports whether req is worth sending again. It is not when a challenge cannot be answered, or when req had credentials for the realm that were
// not merely stale: the password is wrong. It prefers qop auth to auth-int. The caller gives the request a new branch and a higher CSeq (§22.2); Server.Request makes
// both for a request without them.
func Authorize(req *sip.Request, challenge *sip.Response, user, password string) bool {
	answered := false
	for _, h := range [...]struct{ ask, answer string }{
		{"WWW-Authenticate", "Authorization"}, {"Proxy-Authenticate", "Proxy-Authorization"},
	} {
		for _, c := range choose(challenge, h.ask) {
			if !answer(req, h.answer, c, user, password) {
				return false
			}
			answered = true
		}
	}
	return answered
}

// A demand is the challenge chosen for a realm.
type demand struct {
	realm, nonce, opaque string
	hash                 Algorithms
	session, stale       bool
	userhash             bool
	name                 string // of the algorithm, as written
	qop                  QOP
}

// choose picks one challenge a realm; the first of the strongest.
func choose(res *sip.Response, header string) (list []demand) {
next:
	for a, err := range res.Auths(header) {
		if err != nil || !a.IsDigest() {
			continue
		}
		c, ok := readDemand(a.Params)
		if !ok {
			continue
		}
		for i := range list {
			if list[i].realm == c.realm {
				if c.hash > list[i].hash {
					list[i] = c
				}
				continue next
			}
		}
		list = append(list, c)
	}
	return list
}

func readDemand(p sip.AuthParams) (c demand, ok bool) {
	var stale, userhash string
	for name, to := range map[string]*string{
		"realm": &c.realm, "nonce": &c.nonce, "opaque": &c.opaque, "algorithm": &c.name, "stale": &stale, "userhash": &userhash,
	} {
		*to, _ = p.Get(name)
	}
	c.stale, c.userhash = lower(stale) == "true", lower(userhash) == "true"
	c.hash, c.session, ok = parseAlgorithm(c.name)
	qop, has := p.Get("qop")
	if !has || qop == "" {
		c.qop = QOPNone
	}
	for token := range sip.AuthParams(qop).All() {
		q, _ := parseQOP(token)
		c.qop |= q
	}
	return c, ok && c.nonce != "" && c.qop != 0
}

func answer(req *sip.Request, header string, d demand, user, password string) bool {
	again := req.DelFunc(header, func(value string) bool {
		a, err := sip.ParseAuth(value)
		realm, _ := a.Params.Get("realm")
		return err == nil && realm == d.realm
	})
	if again > 0 && !d.stale {
		return false
	}
	req.Add(header, d.credentials(user).text(req, d, Password(d.realm, user, password).ha1(d.hash)))
	return true
}

func (d demand) credentials(user string) *credentials {
	c := &credentials{
		username: user, realm: d.realm, nonce: d.nonce, algorithm: d.name, hash: d.hash, session: d.session, method: QOPNone,
	}
	if d.userhash {
		c.username, c.hashed = string(d.hash.userHash(nil, d.realm, user)), true
	}
	if d.qop != QOPNone || d.session {
		var b [12]byte
		rand.Read(b[:])
		c.cnonce = hex.EncodeToString(b[:])
	}
	switch {
	case d.qop&QOPAuth != 0:
		c.method, c.qop, c.nc = QOPAuth, "auth", "00000001"
	case d.qop&QOPInt != 0:
		c.method, c.qop, c.nc = QOPInt, "auth-int", "00000001"
	}
	return c
}

// text completes the credentials for a request and writes them.
func (c *credentials) text(req *sip.Request, d demand, ha1 string) string {
	c.uri = req.URI.String()
	b := append(make([]byte, 0, 256), "Digest "...)
	quoted := func(name, value string) {
		if value != "" {
			b = append(append(b, name...), '=')
			b = append(appendQuoted(b, value), ", "...)
		}
	}
	plain := func(name, value string) {
		if value != "" {
			b = append(append(append(append(b, name...), '='), value...), ", "...)
		}
	}
	quoted("username", c.username)
	if c.hashed {
		plain("userhash", "true")
	}
	quoted("realm", c.realm)
	quoted("nonce", c.nonce)
	quoted("uri", c.uri)
	quoted("opaque", d.opaque)
	plain("algorithm", c.algorithm)
	quoted("cnonce", c.cnonce)
	plain("qop", c.qop)
	plain("nc", c.nc)
	b = append(b, `response="`...)
	b = hex.AppendEncode(b, c.compute(nil, ha1, req.Method, req.Body()))
	return string(append(b, '"'))
}
