package registrar

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A public GRUU is the address-of-record with the instance in gr (RFC 5627 §5.1). A temporary one hides who it belongs to: its user part is the
// address-of-record, the instance and the Call-ID of the registration, sealed with the server's key, so that no table of them is needed and every node with the key
// resolves it. It holds as long as the instance stays registered by that Call-ID (§5.4).

// tempPrefix marks the user part of temporary GRUUs.
const tempPrefix = "tgruu."

func (g *Registrar) appendGRUUs(b []byte, r *sipproxy.Request, x *Binding) []byte {
	to, err := r.To()
	if err != nil {
		return b
	}
	u := sip.URI{Scheme: "sip", User: to.URI.User, Host: to.URI.Host, Port: to.URI.Port}
	if x.Contact.IsSIPS() { // the Contact decides, not To (RFC 5630 §5.2.1)
		u.Scheme = "sips"
	}
	gr := escapeParam(strings.Trim(x.Instance, "<>"))
	b = append(b, `;pub-gruu="`...)
	b = u.WithParam("gr", gr).AppendTo(b)
	b = append(b, '"')
	aor, ok := g.AOR(r.Server(), to.URI)
	if !ok {
		return b
	}
	key, _ := r.Server().Key()
	u.User = tempPrefix + seal(key, joined(string(aor), x.Instance, x.CallID))
	b = append(b, `;temp-gruu="`...)
	b = u.WithParam("gr", "").AppendTo(b)
	return append(b, '"')
}

// IsGRUU reports whether u is a GRUU: it has a gr parameter.
func IsGRUU(u sip.URI) bool { return u.Params.Has("gr") }

// A want is who a request is for: a user, or one of his devices.
type want struct {
	aor      AOR
	instance string // without <>; "": any
	callID   string // of a temporary GRUU
}

// want reads a Request-URI, GRUUs included; false: nobody of ours.
func (g *Registrar) want(s *sipproxy.Server, u sip.URI) (want, bool) {
	aor, ok := g.AOR(s, u)
	if !ok {
		return want{}, false
	}
	if u.Params == "" {
		return want{aor: aor}, true
	}
	gr, ok := u.Params.Get("gr")
	if !ok {
		return want{aor: aor}, true
	}
	if sealed, temp := strings.CutPrefix(u.User, tempPrefix); temp {
		return openGRUU(s, sealed)
	}
	return want{aor: aor, instance: sip.Unescape(gr)}, gr != ""
}

// openGRUU reads the user part of a temporary GRUU that this server, or another with the same keys, has made.
func openGRUU(s *sipproxy.Server, sealed string) (want, bool) {
	current, previous := s.Key()
	for _, key := range [][]byte{current, previous} {
		if key == nil {
			continue
		}
		if text, ok := unseal(key, sealed); ok {
			parts, ok := split(text)
			return want{AOR(parts[0]), strings.Trim(parts[1], "<>"), parts[2]}, ok
		}
	}
	return want{}, false
}

// joined puts three texts, whatever is in them, into one; split takes them apart.
func joined(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return string(b)
}

func split(s string) (parts [3]string, ok bool) {
	r := reader{s: s}
	for i := range parts {
		parts[i] = r.string()
	}
	return parts, !r.short && r.s == "" && parts[0] != "" && parts[1] != "" && parts[2] != ""
}

// escapeParam encodes what a URI parameter may not hold literally (§25.1: paramchar).
func escapeParam(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.!~*'()[]/:&+$", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func (w want) fits(b *Binding) bool {
	if w.instance != "" && !strings.EqualFold(strings.Trim(b.Instance, "<>"), w.instance) { // URNs of devices compare without case
		return false
	}
	return w.callID == "" || b.CallID == w.callID
}

func sealer(key []byte) cipher.AEAD {
	k := sha256.Sum256(append([]byte("temp-gruu"), key...))
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

func seal(key []byte, text string) string {
	a := sealer(key)
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(text)+a.Overhead())
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(a.Seal(nonce, nonce, []byte(text), nil))
}

func unseal(key []byte, sealed string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	a := sealer(key)
	if err != nil || len(raw) < a.NonceSize() {
		return "", false
	}
	text, err := a.Open(nil, raw[:a.NonceSize()], raw[a.NonceSize():], nil)
	return string(text), err == nil
}
