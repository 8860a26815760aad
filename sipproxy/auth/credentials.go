package auth

import (
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sipkit/sipkit/sip"
)

// Limits of what a client writes; no honest one comes near.
const (
	maxField = 4096 // of one Authorization field
	maxName  = 256  // of a user name
)

// credentials are the parameters of an Authorization field (RFC 7616 §3.4). What is hashed is kept as it was written.
type credentials struct {
	username, realm, nonce, uri, response string
	algorithm, qop, cnonce, nc            string
	extended                              string // username*
	userhash                              string

	blank   bool // nonce or response is there and empty
	hash    Algorithms
	session bool
	hashed  bool // username is H(username:realm)
	method  qopKind
	count   uint32
	digest  [sumSize]byte
	size    int
}

// parseCredentials reads a field and reports what is wrong with it, "" when nothing is. Nothing is wrong with blank ones: a client that has not been
// challenged yet, an IMS phone for instance, may say who it is with an empty nonce and response (RFC 8760 §2.7).
func parseCredentials(p sip.AuthParams) (c credentials, fault string) {
	if len(p) > maxField {
		return c, "credentials too long"
	}
	for name, value := range p.All() {
		slot := c.slot(name)
		if slot == nil {
			continue
		}
		if *slot != "" {
			return c, "repeated digest parameter"
		}
		*slot = value
		c.blank = c.blank || value == "" && (slot == &c.nonce || slot == &c.response)
	}
	if c.blank {
		return c, ""
	}
	if fault := c.readUserHash(); fault != "" {
		return c, fault
	}
	if c.extended != "" {
		if fault := c.readName(); fault != "" {
			return c, fault
		}
	}
	return c, c.check()
}

func (c *credentials) readUserHash() string {
	switch lower(c.userhash) {
	case "", "false":
		return ""
	case "true":
		c.hashed = true
		if c.extended != "" {
			return "digest username* with userhash" // RFC 7616 §3.4
		}
		return ""
	}
	return "malformed digest userhash"
}

// readName takes the user name from username*, which clients use for names that are not ASCII (RFC 7616 §3.4), in the notation of RFC 8187.
func (c *credentials) readName() string {
	charset, rest, _ := strings.Cut(c.extended, "'")
	_, text, ok := strings.Cut(rest, "'")
	name, err := url.PathUnescape(text)
	switch {
	case c.username != "":
		return "two digest usernames"
	case !ok || !strings.EqualFold(charset, "UTF-8") || err != nil || !utf8.ValidString(name):
		return "malformed digest username*"
	}
	c.username = name
	return ""
}

func (c *credentials) slot(name string) *string {
	switch lower(name) {
	case "username":
		return &c.username
	case "username*":
		return &c.extended
	case "userhash":
		return &c.userhash
	case "realm":
		return &c.realm
	case "nonce":
		return &c.nonce
	case "uri":
		return &c.uri
	case "response":
		return &c.response
	case "algorithm":
		return &c.algorithm
	case "qop":
		return &c.qop
	case "cnonce":
		return &c.cnonce
	case "nc":
		return &c.nc
	}
	return nil
}

// lower is strings.ToLower for parameter names; known ones are short, and others may be as long as they like.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := range b {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func (c *credentials) check() string {
	switch {
	case c.username == "":
		return "no digest username"
	case len(c.username) > maxName:
		return "digest username too long"
	case c.nonce == "":
		return "no digest nonce"
	case c.uri == "":
		return "no digest uri"
	case c.response == "":
		return "no digest response"
	}
	return c.checkQOP()
}

func (c *credentials) checkQOP() string {
	switch {
	case c.qop == "":
		return ""
	case c.cnonce == "":
		return "no digest cnonce"
	case len(c.nc) == 0 || len(c.nc) > 8:
		return "malformed digest nc"
	}
	n, err := strconv.ParseUint(c.nc, 16, 32)
	if err != nil || n == 0 {
		return "malformed digest nc"
	}
	c.count = uint32(n)
	return ""
}

// understand works out algorithm, qop and response; false when one of them is unknown here.
func (c *credentials) understand() bool {
	var ok bool
	if c.hash, c.session, ok = parseAlgorithm(c.algorithm); !ok {
		return false
	}
	if c.method, ok = parseQOP(c.qop); !ok {
		return false
	}
	if c.session && c.cnonce == "" {
		return false
	}
	if len(c.response) != c.hash.hexLen() {
		return true // a wrong response, folded for instance
	}
	n, err := hex.Decode(c.digest[:], []byte(c.response))
	if err == nil {
		c.size = n
	}
	return true
}

// QOP is a set of qualities of protection (RFC 7616 §3.3).
type QOP uint8

// The qualities of protection.
const (
	QOPAuth QOP = 1 << iota // the request line is protected
	QOPInt                  // auth-int: and the body
	QOPNone                 // credentials without qop, as RFC 2069 had them
)

type qopKind = QOP

func parseQOP(s string) (qopKind, bool) {
	switch lower(s) {
	case "":
		return QOPNone, true
	case "auth":
		return QOPAuth, true
	case "auth-int":
		return QOPInt, true
	}
	return 0, false
}

// offer is the text of the qop parameter of a challenge.
func (q QOP) offer() string {
	switch q & (QOPAuth | QOPInt) {
	case QOPAuth:
		return "auth"
	case QOPInt:
		return "auth-int"
	case QOPAuth | QOPInt:
		return "auth,auth-int"
	}
	return ""
}
