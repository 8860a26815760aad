package auth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// The user of RFC 7616 §3.9.2. The RFC prints 48886947..., which is SHA-512 cut to 256 bits; this is SHA-512/256, as errata 4897 has it.
const (
	jason         = "Jäsøn Doe"
	jasonRealm    = "api@example.org"
	jasonPassword = "Secret, or not?"
	jasonHash     = "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
	jasonMD5      = "2e063fa2c54dea1c36808b7a6e3b14c9"
	rfcPrints     = "488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec"
)

func TestUserByHash(t *testing.T) {
	s := auth.Password(jasonRealm, jason, jasonPassword)
	memory := new(auth.Users)
	memory.SetSecret(jasonRealm, jason, s)
	name := filepath.Join(t.TempDir(), "users")
	write := func(user string) {
		require.NoError(t, os.WriteFile(name, []byte(strings.Join([]string{user, jasonRealm, s.MD5, s.SHA256, s.SHA512256}, ":")+"\n"), 0o600))
	}
	write(jason)
	file, err := auth.OpenFile(name)
	require.NoError(t, err)
	is := func(source auth.UserHashSource, want, realm, hash string, by auth.Algorithms) {
		t.Helper()
		user, err := source.UserByHash(t.Context(), realm, hash, by)
		require.NoError(t, err)
		require.Equal(t, want, user)
	}
	for _, source := range []auth.UserHashSource{memory, file} {
		is(source, jason, jasonRealm, jasonHash, auth.SHA512256)
		is(source, jason, jasonRealm, jasonMD5, auth.MD5)
		is(source, "", jasonRealm, jasonHash, auth.SHA256)
		is(source, "", jasonRealm, jasonHash, auth.MD5)
		is(source, "", "example.org", jasonHash, auth.SHA512256)
		is(source, "", jasonRealm, rfcPrints, auth.SHA512256)
		is(source, "", jasonRealm, strings.Repeat("x", 64), auth.SHA512256)
		is(source, "", jasonRealm, "", auth.SHA512256)
	}
	memory.Delete(jasonRealm, jason)
	is(memory, "", jasonRealm, jasonHash, auth.SHA512256)
	memory.SetSecret(jasonRealm, jason, auth.Secret{MD5: s.MD5})
	is(memory, "", jasonRealm, jasonHash, auth.SHA512256) // cannot be checked by it
	memory.SetSecret(jasonRealm, jason, s)
	is(memory, jason, jasonRealm, jasonHash, auth.SHA512256)
	write("nobody")
	require.NoError(t, file.Reload())
	is(file, "", jasonRealm, jasonHash, auth.SHA512256)
}

// TestUserHash: the credentials of the RFC's example log its user in, and what is not quite they nobody.
func TestUserHash(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		u := users()
		u.Set(jasonRealm, jason, jasonPassword)
		u.Set(jasonRealm, jasonHash, "of one who is named as another's hash")
		d := &auth.Digest{Source: u, Realm: jasonRealm, Algorithms: auth.SHA512256, UserHash: true}
		p := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		res := register(t, p)
		require.Equal(t, 401, res.Code)
		require.Contains(t, res.Get("WWW-Authenticate"), ", userhash=true")

		good := `username="` + jasonHash + `", userhash=true`
		for _, x := range []struct {
			name, password, instead string
			code                    int
			stats                   auth.Stats // of those that change, by one
		}{
			{"hash", jasonPassword, good, 200, auth.Stats{Accepted: 1}},
			{"upper case", jasonPassword, `username="` + jasonHash + `", UserHash=TRUE`, 200, auth.Stats{Accepted: 1}},
			{"no hash", jasonPassword, `username="` + jason + `", userhash=false`, 200, auth.Stats{Accepted: 1}},
			{"no userhash", jasonPassword, `username="` + jason + `"`, 200, auth.Stats{Accepted: 1}},
			{"wrong password", "guess", good, 401, auth.Stats{Mismatch: 1}},
			{"hash without userhash", jasonPassword, `username="` + jasonHash + `"`, 401, auth.Stats{Mismatch: 1}},
			{"name with userhash", jasonPassword, `username="` + jason + `", userhash=true`, 401, auth.Stats{UnknownUser: 1}},
			{"unknown hash", jasonPassword, `username="` + rfcPrints + `", userhash=true`, 401, auth.Stats{UnknownUser: 1}},
			{"a name that is a hash", "of one who is named as another's hash", good, 401, auth.Stats{Mismatch: 1}},
			{"extended", jasonPassword, `username*=UTF-8''` + jasonHash + `, userhash=true`, 400, auth.Stats{Malformed: 1}},
			{"both", jasonPassword, good + `, username*=UTF-8''x`, 400, auth.Stats{Malformed: 1}},
			{"neither true nor false", jasonPassword, `username="` + jasonHash + `", userhash=maybe`, 400, auth.Stats{Malformed: 1}},
			{"twice", jasonPassword, good + `, userhash=false`, 400, auth.Stats{Malformed: 1}},
		} {
			before := d.Stats()
			res := register(t, p)
			c := answered(t, res, jason, x.password, sip.REGISTER, "sip:"+domain)
			require.Contains(t, c, good, "the client hashes the name")
			res = register(t, p, set("Authorization", strings.Replace(c, good, x.instead, 1)))
			require.Equal(t, x.code, res.Code, x.name)
			if x.code == 200 {
				require.Equal(t, jason+" at "+jasonRealm, res.Reason, x.name)
			}
			after := d.Stats()
			require.Equal(t, x.stats, auth.Stats{
				Accepted: after.Accepted - before.Accepted, Mismatch: after.Mismatch - before.Mismatch,
				UnknownUser: after.UnknownUser - before.UnknownUser, Malformed: after.Malformed - before.Malformed,
				NotOffered: after.NotOffered - before.NotOffered,
			}, x.name)
		}
	})
}

// Whoever tries a user's passwords by hash and by name tries the passwords of one user.
func TestUserHashGuesses(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: users(), Realm: domain, UserHash: true, Guesses: 4}
		p := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		for i := range 5 {
			res := register(t, p)
			if i%2 == 0 {
				res.Set("WWW-Authenticate", strings.Replace(res.Get("WWW-Authenticate"), ", userhash=true", "", 1))
			}
			c := answered(t, res, "alice", "guess", sip.REGISTER, "sip:"+domain)
			require.Equal(t, i%2 == 1, strings.Contains(c, "userhash"))
			code := 401
			if i == 4 {
				code = 403
			}
			require.Equal(t, code, register(t, p, set("Authorization", c)).Code, i)
		}
	})
}

type nameless struct{ auth.Source }

// TestUserHashNotOffered: without UserHash, or a source that can, it is not offered, and does not count when it comes.
func TestUserHashNotOffered(t *testing.T) {
	for name, x := range map[string]struct {
		source auth.Source
		wanted bool
	}{"not wanted": {users(), false}, "cannot": {nameless{users()}, true}} {
		t.Run(name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				d := &auth.Digest{Source: x.source, Realm: domain, UserHash: x.wanted}
				p := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
				res := register(t, p)
				require.NotContains(t, res.String(), "userhash")
				res.Set("WWW-Authenticate", res.Get("WWW-Authenticate")+", userhash=true")
				c := answered(t, res, "alice", "secret of alice", sip.REGISTER, "sip:"+domain)
				require.Contains(t, c, "userhash=true")
				require.Equal(t, 401, register(t, p, set("Authorization", c)).Code)
				require.EqualValues(t, 1, d.Stats().NotOffered)
				require.Zero(t, d.Stats().Accepted)
			})
		})
	}
}

type broken struct{ *auth.Users }

func (broken) UserByHash(context.Context, string, string, auth.Algorithms) (string, error) {
	return "", errors.New("the database is away")
}

func (broken) Waits() bool { return true }

func TestUserHashUnavailable(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		d := &auth.Digest{Source: broken{users()}, Realm: domain, UserHash: true}
		p := serve(t, k, sipproxy.Chain{d.Middleware}.ThenFunc(accept))
		p.Authorize = knows("secret of alice")
		res := register(t, p)
		require.Equal(t, 503, res.Code)
		require.NotEmpty(t, res.Get("Retry-After"))
		require.EqualValues(t, 1, d.Stats().Unavailable)
	})
}
