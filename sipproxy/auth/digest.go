package auth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gaissmai/bart"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Digest asks for user and password (RFC 3261 §22, RFC 7616, RFC 8760): with 401 as registrar and user agent, with 407 as Proxy. The zero value
// with a Source works. Fields must not change after the first request; a Digest must not be copied after it. All methods are safe for concurrent use.
//
// Nonces need no memory and are good on every node with the same Server.Keys. The counts a nonce was used with are remembered where they were
// seen: after a restart, or on another node, a request caught on the wire can be repeated once, unchanged, while its nonce lives. Without state
// (sipproxy.Stateless) copies are not absorbed, and counts are not checked.
type Digest struct {
	Source Source

	// Realm is the protection space, usually the domain. RealmOf, when set, chooses it for each request (several domains). With neither, it is
	// the host of To for REGISTER, else that of From, in lower case.
	Realm   string
	RealmOf func(*sipproxy.Request) string

	Proxy bool // 407 and Proxy-Authenticate instead of 401 and WWW-Authenticate

	// Trusted networks, and requests for which Exempt is true, pass without a challenge and without a User.
	Trusted []netip.Prefix
	Exempt  func(*sipproxy.Request) bool

	// Algorithms narrows what is offered of what the Source can check; 0: all. Some phones (baresip 1.0 is one) stumble over more than one challenge.
	Algorithms Algorithms
	Session    bool // offer the -sess variants instead; they are accepted in any case
	QOP        QOP  // offered and accepted; 0: QOPAuth. Credentials without qop (QOPNone) use up their nonce
	// UserHash offers clients to send H(user:realm) in place of the user's name (RFC 7616 §3.4.4), so that nobody who reads along learns
	// it from the credentials; From and To show what they show. Names as they are stay accepted. It needs a Source that is a UserHashSource.
	UserHash bool
	// AnyURI accepts a digest uri that is not the Request-URI: behind a proxy that rewrites it.
	AnyURI bool

	Life    time.Duration // of a nonce; 5 min
	Nonces  int           // used nonces remembered, some 100 bytes each; 65536
	Guesses int           // wrong passwords at once for one user from one source (a /64 of IPv6); 32. Eight times as many for a source. Then 403
	Forgive time.Duration // one failure is forgiven after it; 5 s

	once    sync.Once
	trusted bart.Lite
	replays replays
	guesses guesses
	count   counters
}

// An Identity is an authenticated user.
type Identity struct {
	User  string // as in the credentials, or whose hash it is that they have
	Realm string
}

type identityKey struct{}

// User returns whom the innermost Digest authenticated; false when nobody.
func User(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// Middleware is a sipproxy.Middleware. Behind it User tells who asks, and credentials for the realm are not forwarded; those for other
// realms are. ACK and CANCEL pass: they cannot be challenged (§22.1).
func (d *Digest) Middleware(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.Method == sip.ACK || r.Method == sip.CANCEL {
			d.withhold(r)
			return next.ServeSIP(ctx, r)
		}
		id, refuse := d.Authenticate(ctx, r)
		if refuse != nil {
			return refuse
		}
		if id.User != "" {
			ctx = context.WithValue(ctx, identityKey{}, id)
			d.strip(r, id.Realm)
		}
		return next.ServeSIP(ctx, r)
	})
}

// Withhold is a sipproxy.Middleware that keeps credentials for the realm from being forwarded (§22.3) and asks nobody. It is for requests
// that never come to Middleware, such as those in dialogs: phones repeat their credentials in them. Place it before what routes those.
func (d *Digest) Withhold(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		d.withhold(r)
		return next.ServeSIP(ctx, r)
	})
}

func (d *Digest) withhold(r *sipproxy.Request) {
	if r.Has(d.header()) {
		d.strip(r, d.realm(r))
	}
}

// Authenticate checks the credentials of a request, for handlers that do not want Middleware. It returns the user, or the response that asks
// for credentials or refuses them; neither when the request needs none.
func (d *Digest) Authenticate(ctx context.Context, r *sipproxy.Request) (Identity, *sip.Response) {
	d.once.Do(d.setup)
	if r.Method == sip.ACK || r.Method == sip.CANCEL {
		return Identity{}, nil
	}
	if d.exempt(r) {
		d.count.exempt.Add(1)
		return Identity{}, nil
	}
	if d.Source == nil {
		return Identity{}, r.Fail(ctx, errSource)
	}
	realm := d.realm(r)
	params, found := d.find(r, realm)
	if !found {
		d.count.challenged.Add(1)
		return Identity{}, d.challenge(r, realm, false)
	}
	return d.check(ctx, r, realm, params)
}

var errSource = errors.New("auth: Digest has no Source")

func (d *Digest) setup() {
	for _, p := range d.Trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		d.trusted.Insert(p.Masked())
	}
	d.replays.open(cmp.Or(max(0, d.Nonces), 65536), d.life())
	d.guesses.open(16384, cmp.Or(max(0, d.Forgive), 5*time.Second))
}

func (d *Digest) life() time.Duration { return cmp.Or(max(0, d.Life), 5*time.Minute) }

func (d *Digest) exempt(r *sipproxy.Request) bool {
	return len(d.Trusted) > 0 && d.trusted.Contains(r.Source.AddrPort.Addr().Unmap().WithZone("")) || d.Exempt != nil && d.Exempt(r)
}

func (d *Digest) realm(r *sipproxy.Request) string {
	switch {
	case d.RealmOf != nil:
		return d.RealmOf(r)
	case d.Realm != "":
		return d.Realm
	}
	host := own(r).Host
	if host == "" { // a telephone number
		host = r.URI.Host
	}
	return strings.ToLower(host)
}

// own is the address the sender says is its own (§10.2, §8.1.1.3).
func own(r *sipproxy.Request) sip.URI {
	var n sip.NameAddr
	if r.Method == sip.REGISTER {
		n, _ = r.To()
	} else {
		n, _ = r.From()
	}
	return n.URI
}

func (d *Digest) header() string {
	if d.Proxy {
		return "Proxy-Authorization"
	}
	return "Authorization"
}

// find looks for the credentials for a realm among those for others (§22.3). Of several it takes those whose algorithm it knows.
func (d *Digest) find(r *sipproxy.Request, realm string) (found sip.AuthParams, ok bool) {
	for a, err := range r.Auths(d.header()) {
		if err != nil || !a.IsDigest() {
			continue
		}
		if is, _ := a.Params.Get("realm"); is != realm {
			continue
		}
		algorithm, _ := a.Params.Get("algorithm")
		if _, _, known := parseAlgorithm(algorithm); known {
			return a.Params, true
		}
		if !ok {
			found, ok = a.Params, true
		}
	}
	return found, ok
}

// strip keeps credentials for the realm from being forwarded (§22.3).
func (d *Digest) strip(r *sipproxy.Request, realm string) {
	header := d.header()
	r.OnBranch(func(b *sipproxy.Branch) {
		b.Request.DelFunc(header, func(value string) bool {
			a, err := sip.ParseAuth(value)
			if err != nil {
				return false
			}
			is, _ := a.Params.Get("realm")
			return is == realm
		})
	})
}

// check verifies credentials.
func (d *Digest) check(ctx context.Context, r *sipproxy.Request, realm string, params sip.AuthParams) (Identity, *sip.Response) {
	c, fault := parseCredentials(params)
	if c.blank && fault == "" {
		d.count.challenged.Add(1)
		return Identity{}, d.challenge(r, realm, false)
	}
	if fault == "" && !d.AnyURI && !fits(c.uri, r) {
		fault = "digest uri is not the Request-URI"
	}
	if fault != "" {
		d.count.malformed.Add(1)
		return Identity{}, refuse(r, 400, "Bad Request ("+fault+")")
	}
	if !c.understand() || d.offer(realm)&c.hash == 0 || d.qop()&c.method == 0 || c.hashed && !d.hashesNames() {
		d.count.notOffered.Add(1)
		return Identity{}, d.challenge(r, realm, false)
	}
	name, known, err := d.name(ctx, realm, &c)
	if err != nil {
		return Identity{}, d.unavailable(ctx, r, err)
	}
	now := time.Now()
	n, genuine := parseNonce(r.Server(), realm, c.nonce)
	user, source := d.guesses.key(n.origin, name), d.guesses.key(n.origin, "")
	if d.tooMany(user, source, genuine, now) {
		d.count.guessing.Add(1)
		return Identity{}, refuse(r, 403, "Forbidden (too many failures)")
	}
	secret, err := d.secret(ctx, realm, name)
	if err != nil {
		return Identity{}, d.unavailable(ctx, r, err)
	}
	if !known {
		secret = Secret{} // of a user whose name looks like the hash
	}
	if !d.right(&c, secret, r) {
		d.guesses.failed(user, now)
		d.guesses.failed(source, now)
		return Identity{}, d.challenge(r, realm, false)
	}
	if !d.fresh(r, &c, n, genuine, now) {
		return Identity{}, d.challenge(r, realm, true)
	}
	d.count.accepted.Add(1)
	return Identity{User: name, Realm: realm}, nil
}

// tooMany reports whether whoever got the nonce has guessed too often. With a nonce of somebody else's making nobody knows who that is, and
// the limit is one for the user.
func (d *Digest) tooMany(user, source uint64, genuine bool, now time.Time) bool {
	burst := cmp.Or(max(0, d.Guesses), 32)
	return d.guesses.exhausted(user, burst, now) || genuine && d.guesses.exhausted(source, 8*burst, now)
}

func (d *Digest) secret(ctx context.Context, realm, user string) (s Secret, err error) {
	if w, ok := d.Source.(Waiter); ok && !w.Waits() {
		return d.Source.Secret(ctx, realm, user)
	}
	sipproxy.Block(ctx, func() { s, err = d.Source.Secret(ctx, realm, user) })
	return s, err
}

func (d *Digest) unavailable(ctx context.Context, r *sipproxy.Request, err error) *sip.Response {
	d.count.unavailable.Add(1)
	logger(r).LogAttrs(ctx, slog.LevelWarn, "credentials cannot be checked", slog.Any("error", err))
	res := refuse(r, 503, "")
	res.Set("Retry-After", "5")
	return res
}

// nobody stands in for the secret of users that do not exist, so that the answer takes as long.
var nobody = [...]string{"00000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000"}

// right checks the response, and counts why it is wrong.
func (d *Digest) right(c *credentials, s Secret, r *sipproxy.Request) bool {
	ha1 := s.ha1(c.hash)
	known := len(ha1) == c.hash.hexLen()
	if !known {
		ha1 = nobody[c.hash.hexLen()/64]
	}
	match := c.matches(ha1, r.Request)
	switch {
	case !known:
		d.count.unknownUser.Add(1)
	case !match:
		d.count.mismatch.Add(1)
	}
	return known && match
}

// fresh checks the nonce of a right response, and counts why it will not do: the client is to try again with another (stale=true).
func (d *Digest) fresh(r *sipproxy.Request, c *credentials, n nonce, genuine bool, now time.Time) bool {
	count := c.count
	if c.method == QOPNone {
		count = 1
	}
	switch {
	case !genuine:
		d.count.foreign.Add(1)
	case n.expired(now, d.life()):
		d.count.expired.Add(1)
	case r.Mode() != sipproxy.Stateless && !d.replays.use(n, count, now):
		d.count.replayed.Add(1)
	default:
		return true
	}
	return false
}

// fits compares the digest uri with the Request-URI by user and host: phones leave out ports and parameters as they like, and a strict
// router upstream moved the URI to the last Route.
func fits(uri string, r *sipproxy.Request) bool {
	u, err := sip.ParseURI(uri)
	if err != nil {
		return false
	}
	return samePlace(u, r.Request.URI) || samePlace(u, r.URI)
}

func refuse(r *sipproxy.Request, code int, reason string) *sip.Response {
	res := r.Reply(code)
	if reason != "" {
		res.Reason = reason
	}
	return res
}

func logger(r *sipproxy.Request) *slog.Logger {
	if l := r.Server().Logger; l != nil {
		return l
	}
	return slog.Default()
}
