package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

const domain = "example.com"

func users() *auth.Users {
	u := new(auth.Users)
	u.Set(domain, "alice", "secret of alice")
	u.Set("192.0.2.101", "alice", "secret of alice")
	return u
}

// accept answers 200 to what gets through; the reason names the user.
func accept(ctx context.Context, r *sipproxy.Request) *sip.Response {
	res := r.Reply(200)
	if id, ok := auth.User(ctx); ok {
		res.Reason = id.User + " at " + id.Realm
	}
	return res
}

func serve(t *testing.T, k *siptest.Kit, h sipproxy.Handler) *siptest.Phone {
	k.Server(t, &sipproxy.Server{Names: []string{domain}, Handler: h})
	alice := k.Phone("alice", "192.0.2.1")
	alice.AOR = "sip:alice@" + domain
	return alice
}

func register(t *testing.T, p *siptest.Phone, edit ...func(*sip.Request)) *sip.Response {
	t.Helper()
	edit = append([]func(*sip.Request){func(r *sip.Request) { r.Set("To", "<"+p.AOR+">") }}, edit...)
	return p.Request(t, sip.REGISTER, "sip:"+domain, edit...).Final()
}

func knows(password string) func(*sip.Request, *sip.Response) bool {
	return func(r *sip.Request, c *sip.Response) bool { return auth.Authorize(r, c, "alice", password) }
}

func set(name, value string) func(*sip.Request) { return func(r *sip.Request) { r.Set(name, value) } }

func challenges(res *sip.Response) (list []string) {
	for a := range res.Auths("WWW-Authenticate") {
		name, _ := a.Params.Get("algorithm")
		list = append(list, name)
	}
	return list
}

func TestRegister(t *testing.T) {
	for _, x := range []struct {
		name   string
		digest *auth.Digest
		offer  []string
	}{
		{"all", &auth.Digest{}, []string{"SHA-512-256", "SHA-256", "MD5"}},
		{"MD5", &auth.Digest{Algorithms: auth.MD5}, []string{"MD5"}},
		{"SHA-256", &auth.Digest{Algorithms: auth.SHA256}, []string{"SHA-256"}},
		{"sess", &auth.Digest{Session: true}, []string{"SHA-512-256-sess", "SHA-256-sess", "MD5-sess"}},
		{"sess without qop", &auth.Digest{Session: true, QOP: auth.QOPNone}, []string{"SHA-512-256-sess", "SHA-256-sess", "MD5-sess"}},
		{"auth-int", &auth.Digest{QOP: auth.QOPInt}, []string{"SHA-512-256", "SHA-256", "MD5"}},
		{"both qops", &auth.Digest{QOP: auth.QOPInt | auth.QOPAuth}, []string{"SHA-512-256", "SHA-256", "MD5"}},
		{"RFC 2069", &auth.Digest{QOP: auth.QOPNone, Algorithms: auth.MD5}, []string{"MD5"}},
		{"realm", &auth.Digest{Realm: "192.0.2.101"}, []string{"SHA-512-256", "SHA-256", "MD5"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				d := &auth.Digest{Realm: x.digest.Realm, Algorithms: x.digest.Algorithms, Session: x.digest.Session, QOP: x.digest.QOP, Source: users()}
				alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
				res := register(t, alice)
				require.Equal(t, 401, res.Code)
				require.Equal(t, x.offer, challenges(res))
				require.NotContains(t, res.String(), "stale")

				alice.Authorize = knows("secret of alice")
				res = register(t, alice)
				require.Equal(t, 200, res.Code)
				require.True(t, strings.HasPrefix(res.Reason, "alice at "), res.Reason)

				alice.Authorize = knows("guess")
				require.Equal(t, 401, register(t, alice).Code)
				s := d.Stats()
				require.EqualValues(t, []uint64{3, 1, 1, 1}, []uint64{s.Challenged, s.Accepted, s.Mismatch, uint64(s.Nonces)})
			})
		})
	}
}

// challenged gets a challenge and returns the credentials that answer it for a REGISTER.
func challenged(t *testing.T, p *siptest.Phone, user, password string) string {
	t.Helper()
	res := register(t, p)
	require.Equal(t, 401, res.Code)
	return answered(t, res, user, password, sip.REGISTER, "sip:"+domain)
}

func answered(t *testing.T, res *sip.Response, user, password string, m sip.Method, uri string) string {
	t.Helper()
	req := sip.NewRequest(m, sip.MustParseURI(uri))
	require.True(t, auth.Authorize(req, res, user, password))
	return req.Get("Authorization") + req.Get("Proxy-Authorization")
}

func TestReplay(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users()}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		c := challenged(t, alice, "alice", "secret of alice")
		require.Equal(t, 200, register(t, alice, set("Authorization", c)).Code)
		res := register(t, alice, set("Authorization", c))
		require.Equal(t, 401, res.Code)
		require.Contains(t, res.Get("WWW-Authenticate"), "stale=true", "the password was right, the count was not")
		require.EqualValues(t, 1, d.Stats().Replayed)
		require.Equal(t, 401, alice.Request(t, sip.OPTIONS, "sip:"+domain, set("Authorization", c)).Final().Code, "another method")
		require.EqualValues(t, 1, d.Stats().Mismatch)
		again := answered(t, res, "alice", "secret of alice", sip.REGISTER, "sip:"+domain)
		require.Equal(t, 200, register(t, alice, set("Authorization", again)).Code)
	})
}

func TestStale(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Life: time.Minute}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		right, wrong := challenged(t, alice, "alice", "secret of alice"), challenged(t, alice, "alice", "guess")
		k.Sleep(time.Minute + 1)
		res := register(t, alice, set("Authorization", right))
		require.Equal(t, 401, res.Code)
		require.Contains(t, res.Get("WWW-Authenticate"), "stale=true")
		res = register(t, alice, set("Authorization", wrong))
		require.Equal(t, 401, res.Code)
		require.NotContains(t, res.Get("WWW-Authenticate"), "stale")
		require.EqualValues(t, 1, d.Stats().Expired)
		require.Zero(t, d.Stats().Nonces, "nothing is remembered of nonces that were not accepted")
		next := answered(t, register(t, alice, set("Authorization", right)), "alice", "secret of alice", sip.REGISTER, "sip:"+domain)
		k.Sleep(time.Minute - time.Second)
		require.Equal(t, 200, register(t, alice, set("Authorization", next)).Code)
	})
}

// TestKeys: a nonce is good on every server with the same keys, and with the previous key; under others it is stale, and so is a forged one.
func TestKeys(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		key := func(c string) []byte { return []byte(strings.Repeat(c, 16)) }
		d := make([]*auth.Digest, 4)
		for i, keys := range [][][]byte{{key("a")}, {key("a")}, {key("b"), key("a")}, {key("b")}} {
			d[i] = &auth.Digest{Source: users()}
			k.Server(t, &sipproxy.Server{Keys: keys, Handler: sipproxy.Chain{d[i].Middleware}.ThenFunc(accept)})
		}
		alice := k.Phone("alice", "192.0.2.1")
		alice.AOR = "sip:alice@" + domain
		c := challenged(t, alice, "alice", "secret of alice")
		for i, code := range []int{200, 200, 200, 401} {
			alice.Proxy = "192.0.2.10" + string(rune('1'+i)) + ":5060"
			require.Equal(t, code, register(t, alice, set("Authorization", c)).Code, "server %d", i)
		}
		require.EqualValues(t, 1, d[3].Stats().Foreign)
		res := register(t, alice, set("Authorization", c))
		require.Contains(t, res.Get("WWW-Authenticate"), "stale=true", "a restart with other keys does not make phones ask for the password")
	})
}

// TestUnknownUser: the answer to a user that does not exist looks like that to a wrong password.
func TestUnknownUser(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		u := users()
		u.SetSecret(domain, "old", auth.Secret{MD5: auth.Password(domain, "old", "x").MD5})
		d := &auth.Digest{Source: u}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		shape := func(user string) []string {
			res := register(t, alice, set("Authorization", challenged(t, alice, user, "guess")))
			require.Equal(t, 401, res.Code)
			return challenges(res)
		}
		require.Equal(t, []string{"MD5"}, shape("alice"), "one of the users can be checked by MD5 only")
		require.Equal(t, shape("alice"), shape("nobody"))
		require.Equal(t, []uint64{2, 1}, []uint64{d.Stats().Mismatch, d.Stats().UnknownUser})
		u.Delete(domain, "old")
		require.Equal(t, []string{"SHA-512-256", "SHA-256", "MD5"}, shape("nobody"))
	})
}

// TestNotOffered: an algorithm or qop that was not offered does not count, whatever it proves.
func TestNotOffered(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Algorithms: auth.SHA256}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		for i, swap := range [][2]string{{"=SHA-256", "=MD5"}, {`qop="auth"`, `qop="auth-int"`}, {`qop="auth"`, `x="y"`}} {
			res := register(t, alice)
			res.Set("WWW-Authenticate", strings.Replace(res.Get("WWW-Authenticate"), swap[0], swap[1], 1))
			c := answered(t, res, "alice", "secret of alice", sip.REGISTER, "sip:"+domain)
			require.Equal(t, 401, register(t, alice, set("Authorization", c)).Code)
			require.EqualValues(t, i+1, d.Stats().NotOffered)
		}
		res := register(t, alice)
		res.Set("WWW-Authenticate", strings.Replace(res.Get("WWW-Authenticate"), "SHA-256", "ROT13", 1))
		require.False(t, auth.Authorize(sip.NewRequest(sip.REGISTER, sip.MustParseURI("sip:"+domain)), res, "alice", "secret of alice"))
		c := strings.Replace(challenged(t, alice, "alice", "secret of alice"), "SHA-256", "ROT13", 1)
		require.Equal(t, 401, register(t, alice, set("Authorization", c)).Code)
		require.EqualValues(t, 4, d.Stats().NotOffered)
		require.Zero(t, d.Stats().Accepted)
	})
}

// TestIntegrity: auth-int covers the body.
func TestIntegrity(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), QOP: auth.QOPInt}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		body := func(text string) func(*sip.Request) { return func(r *sip.Request) { r.SetBody("text/plain", text) } }
		alice.Authorize = knows("secret of alice")
		require.Equal(t, 200, alice.Request(t, sip.MESSAGE, "sip:bob@"+domain, body("hello")).Final().Code)
		alice.Authorize = func(r *sip.Request, c *sip.Response) bool {
			ok := auth.Authorize(r, c, "alice", "secret of alice")
			body("something else")(r)
			return ok
		}
		require.Equal(t, 401, alice.Request(t, sip.MESSAGE, "sip:bob@"+domain, body("hello")).Final().Code)
	})
}

// TestMalformed: 400 that names the fault, or a new challenge; the next good request is served.
func TestMalformed(t *testing.T) {
	const folded = "Digest username=\"alice\", realm=\"example.com\",\r\n nonce=\"3bd76584\",\r\n uri=\"sip:example.com\", response=\"81b2cb4a\r\n 2f1ffd52f38b3\"," +
		"\r\n algorithm=MD5" // REQUIREMENTS 129
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), QOP: auth.QOPAuth | auth.QOPNone}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		good := challenged(t, alice, "alice", "secret of alice")
		for _, x := range []struct {
			credentials string
			code        int
			reason      string
		}{
			{strings.Replace(good, "username=", "user=", 1), 400, "no digest username"},
			{strings.Replace(good, "nonce=", "once=", 1), 400, "no digest nonce"},
			{strings.Replace(good, "sip:example.com", "sip:example.org", 1), 400, "digest uri is not the Request-URI"},
			{strings.Replace(good, "sip:example.com", "nonsense", 1), 400, "digest uri is not the Request-URI"},
			{strings.Replace(good, "nc=00000001", "nc=xyz", 1), 400, "malformed digest nc"},
			{good + `, x="` + strings.Repeat("x", 5000) + `"`, 400, "credentials too long"},
			{strings.Replace(good, "realm=", "r=", 1), 401, ""},
			{strings.Replace(good, "Digest", "Basic", 1), 401, ""},
			{"Digest", 401, ""},
			{`Digest realm="example.com`, 401, ""},
			{`Digest username="alice@example.com", realm="example.com", nonce="", uri="sip:example.com", response=""`, 401, ""}, // RFC 8760 §2.7: not challenged yet
			{`Digest username="alice", realm="example.com", nonce="", uri="", response="", algorithm=MD5`, 401, ""},
			{regexp.MustCompile(`response="[^"]*"`).ReplaceAllString(good, `response=""`), 401, ""},
			{strings.Replace(good, `response="`, `response="f`, 1), 401, ""},
			{folded, 401, ""},
			{good + `, opaque="nobody asked"`, 200, ""},
		} {
			if k.Proto == transport.UDP || len(x.credentials) < 4000 {
				// As one line on the wire, but for the folded one: the edit keeps raw bytes out of other fields.
				res := register(t, alice, func(r *sip.Request) { r.Add("Authorization", x.credentials) })
				require.Equal(t, x.code, res.Code, x.credentials)
				require.Contains(t, res.Reason, x.reason)
			}
		}
		alice.SendTo("192.0.2.101:5060", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/"+k.Proto.ViaName()+" 192.0.2.1:5060;rport;branch=z9hG4bKfold\n"+
			"Max-Forwards: 70\nFrom: <sip:alice@example.com>;tag=1\nTo: <sip:alice@example.com>\nCall-ID: fold\nCSeq: 1 REGISTER\nAuthorization: "+
			strings.ReplaceAll(folded, "\r\n", "\n")+"\nContent-Length: 0\n\n")
		require.Contains(t, alice.Receive(), "SIP/2.0 401")
	})
}

// TestGuessing: 16 REGISTERs in 0.6 s on a wrong password (baresip) are borne, hundreds are not, and others are not harmed.
func TestGuessing(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users()}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		alice.Authorize = knows("guess")
		for range 16 {
			require.Equal(t, 401, register(t, alice).Code)
			k.Sleep(37 * time.Millisecond)
		}
		alice.Authorize = knows("secret of alice")
		require.Equal(t, 200, register(t, alice).Code)
		alice.Authorize = knows("guess")
		for range 32 {
			register(t, alice)
		}
		require.Equal(t, 403, register(t, alice).Code)
		alice.Authorize = knows("secret of alice")
		require.Equal(t, 403, register(t, alice).Code, "nobody learns whether a guess was right")
		elsewhere := k.Phone("elsewhere", "192.0.2.2")
		elsewhere.AOR, elsewhere.Authorize = alice.AOR, alice.Authorize
		require.Equal(t, 200, register(t, elsewhere).Code)
		k.Sleep(time.Minute)
		require.Equal(t, 200, register(t, alice).Code)
	})
}

// slow is a Source that waits, and fails for one user.
type slow struct{ *auth.Users }

func (s slow) Secret(ctx context.Context, realm, user string) (auth.Secret, error) {
	time.Sleep(time.Second)
	if user == "trouble" {
		return auth.Secret{}, errors.New("database away")
	}
	return s.Users.Secret(ctx, realm, user)
}

func (s slow) Waits() bool { return true }

func TestSlowSource(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: slow{users()}}
		alice := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		c := challenged(t, alice, "trouble", "x")
		alice.Authorize = knows("secret of alice")
		first := alice.Request(t, sip.OPTIONS, "sip:"+domain)
		second := alice.Request(t, sip.OPTIONS, "sip:"+domain)
		start := time.Now()
		require.Equal(t, 200, first.Final().Code)
		require.Equal(t, 200, second.Final().Code)
		require.Less(t, time.Since(start), 2*time.Second, "one does not wait for the other")
		res := register(t, alice, set("Authorization", c))
		require.Equal(t, 503, res.Code)
		require.True(t, res.Has("Retry-After"))
	})
}

// TestTwoProxies: each challenges in its realm; credentials for a realm end at its proxy, others go on (§22.3).
func TestTwoProxies(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		first := &auth.Digest{Source: users(), Realm: domain, Proxy: true}
		there := new(auth.Users)
		there.Set("example.org", "alice", "secret of alice")
		second := &auth.Digest{Source: there, Realm: "example.org", Proxy: true}
		to := func(next string) sipproxy.HandlerFunc {
			return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{Next: transport.Addr{Proto: k.Proto, AddrPort: netip.MustParseAddrPort(next)}})
			}
		}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{first.Middleware}.Then(to("192.0.2.102:5060"))})
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{second.Middleware}.Then(to("192.0.2.2:5060"))})
		alice, bob := k.Phone("alice", "192.0.2.1"), k.Phone("bob", "192.0.2.2")
		alice.AOR = "sip:alice@" + domain

		tx := alice.Invite(t, "sip:bob@"+domain)
		res := tx.Expect(407)
		one := answered(t, res, "alice", "secret of alice", sip.INVITE, "sip:bob@"+domain)
		res = alice.Invite(t, "sip:bob@"+domain, set("Proxy-Authorization", one)).Expect(407)
		var realms []string
		for a := range res.Auths("Proxy-Authenticate") {
			realm, _ := a.Params.Get("realm")
			realms = append(realms, realm)
		}
		require.Equal(t, []string{"example.org"}, slices.Compact(realms))
		two := answered(t, res, "alice", "secret of alice", sip.INVITE, "sip:bob@"+domain)
		fresh := answered(t, alice.Invite(t, "sip:bob@"+domain).Expect(407), "alice", "secret of alice", sip.INVITE, "sip:bob@"+domain)
		const foreign = `Digest username="alice", realm="elsewhere", nonce="n", uri="sip:x", response="00"`
		both := func(r *sip.Request) {
			r.Add("Proxy-Authorization", fresh)
			r.Add("Proxy-Authorization", foreign)
			r.Add("Proxy-Authorization", two)
		}
		call := alice.Call(t, "sip:bob@"+domain, both)
		in := bob.Incoming(t)
		var left []string
		for v := range in.Invitation().All("Proxy-Authorization") {
			left = append(left, v)
		}
		require.Equal(t, []string{foreign}, left)
		in.ExpectAck()
		call.Bye()
	})
}

// TestTrusted: a gateway is not asked, and its ACKs and CANCELs never are.
func TestTrusted(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Proxy: true, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/30")},
			Exempt: func(r *sipproxy.Request) bool { return r.Method == sip.OPTIONS }}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{d.Middleware, auth.Own{}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				_, known := auth.User(ctx)
				require.False(t, known)
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.2")})
			})})
		gateway, bob, stranger := k.Phone("gateway", "192.0.2.10"), k.Phone("bob", "192.0.2.2"), k.Phone("stranger", "192.0.2.3")
		bob.Ring()
		call := gateway.Invite(t, "sip:bob@"+domain)
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		stranger.Invite(t, "sip:bob@"+domain).Expect(407)
		require.Equal(t, 200, stranger.Request(t, sip.OPTIONS, "sip:bob@"+domain).Final().Code)
		require.EqualValues(t, []uint64{2, 1}, []uint64{d.Stats().Exempt, d.Stats().Challenged})
		bob.Incoming(t)
	})
}

// TestExtendedName: names that are not ASCII come in username* (RFC 7616 §3.4, whose example this is).
func TestExtendedName(t *testing.T) {
	const name = "Jäsøn Doe"
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		u := users()
		u.Set(domain, name, "Secret, or not?")
		p := serve(t, k, sipproxy.Chain{(&auth.Digest{Source: u, Realm: domain}).Middleware}.ThenFunc(accept))
		for extended, code := range map[string]int{
			`username*=UTF-8''J%C3%A4s%C3%B8n%20Doe`:                   200,
			`username*=utf-8'de'J%C3%A4s%C3%B8n%20Doe`:                 200,
			`username="` + name + `"`:                                  200,
			`username*=UTF-8''alice`:                                   401,
			`username*=ISO-8859-1''J%E4s%F8n%20Doe`:                    400,
			`username*=UTF-8''J%E4s%F8n%20Doe`:                         400,
			`username*=UTF-8''J%C3%`:                                   400,
			`username*=alice`:                                          400,
			`username*=UTF-8''`:                                        400,
			`username="alice", username*=UTF-8''J%C3%A4s%C3%B8n%20Doe`: 400,
		} {
			p.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
				if !auth.Authorize(r, challenge, name, "Secret, or not?") {
					return false
				}
				r.Set("Authorization", strings.Replace(r.Get("Authorization"), `username="`+name+`"`, extended, 1))
				return true
			}
			require.Equal(t, code, register(t, p).Code, extended)
		}
	})
}

// TestSeveralCredentials: those for another realm, or by an algorithm that is not ours, do not hide the right ones (§22.3).
func TestSeveralCredentials(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		p := serve(t, k, sipproxy.Chain{(&auth.Digest{Source: users(), Realm: domain}).Middleware}.ThenFunc(accept))
		p.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
			ok := auth.Authorize(r, challenge, "alice", "secret of alice")
			r.Prepend("Authorization", `Digest username="alice", realm="example.org", nonce="x", uri="sip:example.com", response="00"`)
			r.Prepend("Authorization", `Digest username="alice", realm="example.com", nonce="x", uri="sip:example.com", response="00", algorithm=AKAv1-MD5`)
			r.Prepend("Authorization", `Bearer abc`)
			return ok
		}
		require.Equal(t, 200, register(t, p).Code)
	})
}

func TestOwn(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Realm: domain}
		alice := serve(t, k, sipproxy.Chain{d.Middleware, auth.Own{Anonymous: true, Digest: d}.Middleware}.ThenFunc(accept))
		alice.Authorize = knows("secret of alice")
		from := func(uri string) func(*sip.Request) { return set("From", "<"+uri+">;tag=x") }
		for _, x := range []struct {
			method sip.Method
			edit   func(*sip.Request)
			code   int
		}{
			{sip.MESSAGE, from("sip:alice@example.com"), 200},
			{sip.MESSAGE, from("sip:%61lice@EXAMPLE.com:5060"), 200},
			{sip.MESSAGE, from("sip:alice@192.0.2.101"), 200},
			{sip.MESSAGE, from("sip:bob@example.com"), 403},
			{sip.MESSAGE, from("sip:alice@example.org"), 403},
			{sip.MESSAGE, from("sip:Alice@example.com"), 403},
			{sip.MESSAGE, from("tel:+15551234"), 403},
			{sip.MESSAGE, from("sip:anonymous@anonymous.invalid"), 200},
			{sip.REGISTER, set("To", "<sip:bob@example.com>"), 403},
			{sip.REGISTER, set("To", "<sip:anonymous@anonymous.invalid>"), 403},
			{sip.REGISTER, set("To", "<sip:alice@example.com>"), 200},
			{sip.REGISTER, set("To", "<sip:bob@example.com>;tag=x"), 403}, // there is no dialog to hide in
			{sip.REGISTER, set("To", "<sip:alice@example.com>;tag=x"), 200},
		} {
			require.Equal(t, x.code, alice.Request(t, x.method, "sip:"+domain, x.edit).Final().Code, "%s", x.method)
		}
		require.EqualValues(t, 7, d.Stats().NotOwn)
	})
}

// TestWithhold: what never comes to Middleware loses its credentials for the realm all the same, and nobody is asked.
func TestWithhold(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Realm: domain, Proxy: true}
		alice, bob := serve(t, k, sipproxy.Chain{d.Withhold}.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, sipproxy.Target{Next: transport.Addr{Proto: k.Proto, AddrPort: netip.MustParseAddrPort("192.0.2.2:5060")}})
		})), k.Phone("bob", "192.0.2.2")
		const ours = `Digest username="alice", realm="` + domain + `", nonce="n", uri="sip:x", response="00"`
		const foreign = `Digest username="alice", realm="elsewhere", nonce="n", uri="sip:x", response="00"`
		call := alice.Call(t, "sip:bob@"+domain, func(r *sip.Request) {
			r.Add("Proxy-Authorization", ours)
			r.Add("Proxy-Authorization", foreign)
		})
		in := bob.Incoming(t)
		require.Equal(t, foreign, strings.Join(slices.Collect(in.Invitation().All("Proxy-Authorization")), " and "))
		in.ExpectAck()
		call.Bye()
	})
}
