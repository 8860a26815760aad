package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

const (
	office = "example.com"
	server = "192.0.2.101"
)

// An exchange is a running example, with the phones that a scenario asks for.
type exchange struct {
	*testing.T
	*siptest.Kit
	p *proxy
}

// settings is the command line of the scenarios.
func settings() config {
	return config{
		listen: []string{"udp:" + server + ":5060", "tcp:" + server + ":5060"}, domains: []string{office},
		store: "memory", redirects: "follow", media: "nat", failure: "refuse",
	}
}

// scenario runs f with the example over UDP and TCP, on both runners, in virtual time.
func scenario(t *testing.T, c config, f func(x *exchange)) {
	t.Helper()
	require.NoError(t, c.validate())
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		c := c
		p, err := c.build(t.Output())
		require.NoError(t, err)
		k.Server(t, p.server)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		f(&exchange{t, k, p})
	})
}

// user is a phone that has an account here.
func (x *exchange) user(name, ip string) *siptest.Phone {
	phone := x.Phone(name, ip)
	phone.AOR = "sip:" + name + "@" + office
	phone.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
		return auth.Authorize(r, challenge, name, "secret of "+name)
	}
	return phone
}

// stranger is a phone of another domain.
func (x *exchange) stranger(name, ip string) *siptest.Phone {
	phone := x.Phone(name, ip)
	phone.AOR = "sip:" + name + "@" + ip
	return phone
}

// registered is a phone that has registered.
func (x *exchange) registered(name, ip string, params ...string) *siptest.Phone {
	phone := x.user(name, ip)
	x.register(phone, params...).Expect(200)
	return phone
}

func (x *exchange) register(phone *siptest.Phone, params ...string) *siptest.Transaction {
	_, domain, _ := strings.Cut(phone.AOR, "@")
	return phone.Request(x, sip.REGISTER, "sip:"+domain, func(r *sip.Request) {
		r.Set("To", "<"+phone.AOR+">")
		contact := "<" + phone.Contact() + ">"
		for _, p := range params {
			contact += ";" + p
		}
		r.Set("Contact", contact)
		r.Set("Expires", "3600")
	})
}

// file writes a file for a flag.
func file(t *testing.T, text string) string {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// accounts is a file of users.
func accounts(t *testing.T, names ...string) string {
	text := ""
	for _, n := range names {
		text += n + ":" + office + ":" + auth.Password(office, n, "secret of "+n).MD5 + "\n"
	}
	return file(t, text)
}

func at(user string) string { return "sip:" + user + "@" + office }

// talk answers, exchanges something in the dialog and hangs up.
func (x *exchange) talk(call, in *siptest.Call) {
	in.ExpectAck()
	call.Info("application/dtmf-relay", "Signal=2\r\n")
	in.ExpectRequest(sip.INFO)
	in.Bye()
	call.ExpectBye()
}

func TestCall(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice, bob := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2")
		call := alice.Call(x, at("bob"))
		x.talk(call, bob.Incoming(x))
		x.Sleep(time.Second)
		require.EqualValues(x, 1, x.p.calls.Stats().Ended)
	})
}

func TestNobodyThere(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice := x.registered("alice", "192.0.2.1")
		alice.Invite(x, at("nobody")).Expect(404)
		alice.Request(x, sip.MESSAGE, at("nobody")).Expect(404)
		x.registered("bob", "192.0.2.2", `methods="INVITE,OPTIONS"`)
		require.Contains(x, alice.Request(x, sip.MESSAGE, at("bob")).Expect(405).Get("Allow"), "INVITE")
		alice.Request(x, sip.INVITE, "sip:"+office).Expect(484)
		alice.Request(x, sip.OPTIONS, "sip:"+office).Expect(200)
		alice.Request(x, sip.PUBLISH, at("alice")).Expect(404)
	})
}

func TestScannersGetSilence(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		x.stranger("eve", "203.0.113.9").Request(x, sip.OPTIONS, "sip:"+office, func(r *sip.Request) {
			r.Set("User-Agent", "friendly-scanner")
		}).Nothing(time.Second)
	})
}

// A phone with a wrong password may try 16 times at once.
func TestFloodGuard(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice := x.user("alice", "192.0.2.1")
		for range 16 {
			x.register(alice).Expect(200)
		}
		for range 200 {
			alice.Request(x, sip.OPTIONS, "sip:"+office).Final()
		}
		require.Equal(x, "1", alice.Request(x, sip.OPTIONS, "sip:"+office).Expect(503).Get("Retry-After"))
		time.Sleep(time.Minute)
		alice.Request(x, sip.OPTIONS, "sip:"+office).Expect(200)
	})
}

func TestAuthentication(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	scenario(t, c, func(x *exchange) {
		alice, bob := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2")
		x.talk(alice.Call(x, at("bob")), bob.Incoming(x))

		mallory := x.Phone("mallory", "192.0.2.3")
		mallory.AOR = at("alice")
		x.register(mallory).Expect(401)
		mallory.Invite(x, at("bob")).Expect(407)
		mallory.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
			return auth.Authorize(r, challenge, "bob", "secret of bob")
		}
		x.register(mallory).Expect(403) // bob is not alice
		mallory.Invite(x, at("bob")).Expect(403)
		bob.NoCall(x, time.Second)

		eve := x.stranger("eve", "203.0.113.9") // calls of strangers are welcome
		x.talk(eve.Call(x, at("bob")), bob.Incoming(x))
	})
}

func TestNoOpenRelay(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	scenario(t, c, func(x *exchange) {
		eve, other := x.stranger("eve", "203.0.113.9"), x.stranger("other", "198.51.100.7")
		eve.Invite(x, "sip:other@198.51.100.7").Expect(403)
		eve.Request(x, sip.MESSAGE, "sip:other@198.51.100.7").Expect(403)
		eve.Request(x, sip.BYE, "sip:other@198.51.100.7", func(r *sip.Request) { r.SetToTag("forged") }).Expect(404)
		eve.Route = []string{"<sip:" + server + ";lr>"}
		eve.Request(x, sip.BYE, "sip:other@198.51.100.7", func(r *sip.Request) { r.SetToTag("forged") }).Expect(403)
		eve.Route = []string{"<sip:" + server + ";lr>", "<sip:198.51.100.7;lr>"}
		eve.Invite(x, at("nobody")).Expect(404)
		other.NoCall(x, time.Second)

		alice := x.registered("alice", "192.0.2.1")
		x.talk(alice.Call(x, "sip:other@198.51.100.7"), other.Incoming(x))
	})
}

// Without passwords a From costs nothing, so only trusted networks call out.
func TestNoOpenRelayWithoutUsers(t *testing.T) {
	c := settings()
	c.gateway = "198.51.100.8"
	scenario(t, c, func(x *exchange) {
		alice, other, gateway := x.registered("alice", "192.0.2.1"), x.stranger("other", "198.51.100.7"), x.stranger("gateway", "198.51.100.8")
		alice.Invite(x, "sip:other@198.51.100.7").Expect(403)
		alice.Invite(x, at("+33123456789")).Expect(403)
		other.NoCall(x, time.Second)
		gateway.NoCall(x, time.Second)
	})
}
