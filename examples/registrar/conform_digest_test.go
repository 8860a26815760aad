package main

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/auth"
)

// login is what a client puts into Authorization, worked out here from RFC 7616 §3.4 alone.
type login struct {
	user, realm, password, uri, method, nonce string
	algorithm, qop, nc                        string // as written
	body                                      string
	sess                                      bool
}

func hash(algorithm, text string) string {
	switch strings.ToUpper(algorithm) {
	case "SHA-256":
		return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	case "SHA-512-256":
		return fmt.Sprintf("%x", sha512.Sum512_256([]byte(text)))
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(text)))
}

// field is the header field, with more parameters behind its own.
func (l login) field(more ...string) string {
	name := l.algorithm
	ha1 := hash(name, l.user+":"+l.realm+":"+l.password)
	if l.sess {
		ha1 = hash(name, ha1+":"+l.nonce+":c0ffee")
		name += "-sess"
	}
	a2 := l.method + ":" + l.uri
	if l.qop == "auth-int" {
		a2 += ":" + hash(l.algorithm, l.body)
	}
	middle := ""
	text := fmt.Sprintf(`username="%s", realm="%s", nonce="%s", uri="%s"`, l.user, l.realm, l.nonce, l.uri)
	if l.algorithm != "" {
		text += ", algorithm=" + name
	}
	if l.qop != "" {
		middle = l.nc + ":c0ffee:" + l.qop + ":"
		text += fmt.Sprintf(`, qop=%s, nc=%s, cnonce="c0ffee"`, l.qop, l.nc)
	} else if l.sess {
		text += `, cnonce="c0ffee"`
	}
	response := hash(l.algorithm, ha1+":"+l.nonce+":"+middle+hash(l.algorithm, a2))
	return "Authorization: Digest " + strings.Join(append([]string{text, `response="` + response + `"`}, more...), ", ")
}

// TestDigestOnTheWire is RFC 3261 §22 with RFC 7616 and RFC 8760 at the running program.
func TestDigestOnTheWire(t *testing.T) {
	s := auth.Password(office, "alice", "secret")
	users := file(t, strings.Join([]string{"alice", office, s.MD5, s.SHA256, s.SHA512256}, ":")+"\n")
	addr := served(t, "-users", users)
	const contact = "Contact: <sip:a@192.0.2.1>"
	onEach(t, addr, func(w *wire) {
		try := func(fields ...string) *sip.Response { return w.ask(w.register("alice", append(fields, contact)...)) }
		fresh := func() login {
			res := try()
			require.Equal(w, 401, res.Code)
			var names []string
			nonce := ""
			for a, err := range res.Auths("WWW-Authenticate") {
				require.NoError(w, err)
				name, _ := a.Params.Get("algorithm")
				names = append(names, name)
				realm, _ := a.Params.Get("realm")
				require.Equal(w, office, realm)
				qop, _ := a.Params.Get("qop")
				require.Equal(w, "auth", qop)
				nonce, _ = a.Params.Get("nonce")
				require.NotContains(w, string(a.Params), "stale")
			}
			require.Equal(w, []string{"SHA-512-256", "SHA-256", "MD5"}, names, "RFC 8760 §2.4: the strongest first, each in a field of its own")
			return login{user: "alice", realm: office, password: "secret", uri: "sip:example.com", method: "REGISTER", nonce: nonce, algorithm: "MD5", qop: "auth", nc: "00000001"}
		}
		with := func(f func(*login)) login {
			l := fresh()
			f(&l)
			return l
		}
		stale := func(res *sip.Response) {
			w.Helper()
			require.Equal(w, 401, res.Code, "%s", res)
			for a := range res.Auths("WWW-Authenticate") {
				v, _ := a.Params.Get("stale")
				require.Equal(w, "true", v, "%s", res)
			}
		}
		no := func(res *sip.Response) {
			w.Helper()
			require.Equal(w, 401, res.Code, "%s", res)
			require.NotContains(w, res.String(), "stale")
		}
		for name, l := range map[string]login{
			"MD5":            with(func(*login) {}),
			"none":           with(func(l *login) { l.algorithm = "" }),
			"md5":            with(func(l *login) { l.algorithm = "md5" }),
			"SHA-256":        with(func(l *login) { l.algorithm = "SHA-256" }),
			"SHA-512-256":    with(func(l *login) { l.algorithm = "SHA-512-256" }),
			"MD5-sess":       with(func(l *login) { l.sess = true }),
			"SHA-256-sess":   with(func(l *login) { l.algorithm, l.sess = "SHA-256", true }),
			"RFC 2069":       with(func(l *login) { l.qop = "" }),
			"first count 9":  with(func(l *login) { l.nc = "00000009" }),
			"uri with port":  with(func(l *login) { l.uri = "sip:example.com:5060" }),
			"uri in capital": with(func(l *login) { l.uri = "sip:EXAMPLE.com" }),
		} {
			require.Equal(w, 200, try(l.field()).Code, name)
		}
		for name, l := range map[string]login{
			"password": with(func(l *login) { l.password = "guess" }),
			"user":     with(func(l *login) { l.user = "mallory" }),
			"realm":    with(func(l *login) { l.realm = "example.net" }),
			"auth-int": with(func(l *login) { l.qop = "auth-int" }), // was not offered
		} {
			no(try(l.field()))
			_ = name
		}
		no(try(strings.Replace(fresh().field(), `response="`, `response="0`, 1)))
		no(try(strings.Replace(fresh().field(), `"alice"`, `"`+hash("MD5", "alice:example.com")+`", userhash=true`, 1))) // was not offered
		require.Equal(w, 200, try(strings.Replace(fresh().field(), `username="alice"`, "username*=UTF-8''%61lice", 1)).Code)

		// counts
		l := fresh()
		first := w.register("alice", l.field(), contact)
		require.Equal(w, 200, w.ask(first).Code)
		if w.proto == "udp" {
			require.Equal(w, 200, w.ask(first).Code, "a retransmission is no replay")
		}
		stale(try(l.field()))
		l.nc = "00000002"
		require.Equal(w, 200, try(l.field()).Code)
		l.nc = "00000005"
		require.Equal(w, 200, try(l.field()).Code)
		l.nc = "00000004"
		require.Equal(w, 200, try(l.field()).Code, "requests may overtake each other")
		stale(try(l.field()))
		l.nc = "00000001"
		stale(try(l.field()))
		l = with(func(l *login) { l.qop = "" })
		require.Equal(w, 200, try(l.field()).Code)
		stale(try(l.field()))

		// nonces of somebody else's making
		l = fresh()
		l.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
		stale(try(l.field()))
		l = fresh()
		l.nonce = l.nonce[:len(l.nonce)-1] + "!"
		stale(try(l.field()))

		// what is no credentials
		for field, code := range map[string]int{
			"Authorization: Digest":                                                    401,
			"Authorization: Digest ,,,":                                                401,
			"Authorization: Basic YWxpY2U6c2VjcmV0":                                    401,
			`Authorization: Digest realm="example.com"`:                                400,
			`Authorization: Digest realm="example.com`:                                 401,
			"Proxy-" + fresh().field():                                                 401,
			strings.Replace(fresh().field(), "nc=00000001", "nc=xyz", 1):               400,
			strings.Replace(fresh().field(), "nc=00000001", "nc=00000000", 1):          400,
			strings.Replace(fresh().field(), `, cnonce="c0ffee"`, "", 1):               400,
			fresh().field(`username="bob"`):                                            400,
			fresh().field(`x="` + strings.Repeat("x", 5000) + `"`):                     400,
			strings.Replace(fresh().field(), "sip:example.com", "sip:evil.example", 1): 400,
		} {
			require.Equal(w, code, try(field).Code, field)
		}

		// several fields: ours is found
		others := []string{`Digest username="alice", realm="example.net", nonce="x", uri="sip:example.com", response="00"`, "Basic YQ==",
			`Digest username="alice", realm="example.com", nonce="x", uri="sip:example.com", response="00", algorithm=AKAv1-MD5`}
		res := try("Authorization: "+others[0], "+Authorization: "+others[1], "+Authorization: "+others[2], "+"+fresh().field())
		require.Equal(w, 200, res.Code, "%s", res)

		// who he is, and who he is not
		l = fresh()
		require.Equal(w, 403, w.ask(w.register("bob", l.field(), contact)).Code)
		require.Equal(w, 401, w.ask(w.register("bob", contact)).Code)
		require.Equal(w, 404, w.ask(w.register("bob", "To: <sip:bob@example.com>;tag=x", fresh().field(), contact)).Code)
		invite := w.request("INVITE", "sip:bob@example.com", "To: <sip:bob@example.com>")
		require.Equal(w, 407, w.ask(invite).Code)
		ack := strings.Replace(strings.Replace(invite, "INVITE", "ACK", 2), "1 INVITE", "1 ACK", 1)
		w.send(ack) // silence
		require.Equal(w, 407, w.ask(w.request("INVITE", "sip:bob@example.com", "To: <sip:bob@example.com>", fresh().field())).Code, "for the registrar, not for the proxy")
		require.Equal(w, 404, w.ask(w.request("INVITE", "sip:bob@example.com", "From: <sip:eve@example.net>;tag=e", "To: <sip:bob@example.com>")).Code, "strangers may call")
		require.Equal(w, 403, w.ask(w.request("INVITE", "sip:bob@example.net", "From: <sip:eve@example.net>;tag=e", "To: <sip:bob@example.net>")).Code, "no open relay")
	})
}

// TestReplayAcrossRestart: a REGISTER caught on the wire is good once more when the counts are forgotten, but changes nothing: its CSeq is not higher.
func TestReplayAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-listen", "udp:127.0.0.1:0", "-domain", office, "-data", filepath.Join(dir, "data"), "-users", accounts(t, "alice")}
	p, addr := start(t, args...)
	w := wired(t, "udp", addr[0])
	ask := func(w *wire, fields ...string) (*sip.Response, string) {
		text := w.register("alice", append(fields, "Call-ID: same")...)
		return w.ask(text), text
	}
	challenge, _ := ask(w, "CSeq: 1 REGISTER", "Contact: <sip:a@192.0.2.1>")
	nonce := func(res *sip.Response) login {
		for a := range res.Auths("WWW-Authenticate") {
			n, _ := a.Params.Get("nonce")
			return login{user: "alice", realm: office, password: "secret of alice", uri: "sip:example.com", method: "REGISTER", nonce: n, algorithm: "MD5", qop: "auth", nc: "00000001"}
		}
		return login{}
	}
	l := nonce(challenge)
	res, caught := ask(w, "CSeq: 2 REGISTER", "Contact: <sip:a@192.0.2.1>", l.field())
	require.Equal(t, 200, res.Code)
	l.nc = "00000002"
	res, _ = ask(w, "CSeq: 3 REGISTER", "Contact: *", "Expires: 0", l.field())
	require.Equal(t, 200, res.Code)
	l.nc = "00000003"
	res, _ = ask(w, "CSeq: 4 REGISTER", "Contact: <sip:a@192.0.2.1>", l.field())
	require.Equal(t, 200, res.Code)
	p.kill()
	<-p.done
	args[1] = "udp:" + addr[0]
	_, _ = start(t, args...)
	eve := wired(t, "udp", addr[0])
	again := eve.ask(strings.Replace(caught, "branch=", "branch=z9hG4bKother", 1))
	require.Equal(t, 400, again.Code, "%s", again)
	l.nc = "00000004"
	res, _ = ask(wired(t, "udp", addr[0]), "CSeq: 5 REGISTER", l.field())
	require.Equal(t, 200, res.Code, "nonces outlive the process")
	require.Contains(t, have(res), "192.0.2.1")
}
