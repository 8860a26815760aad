package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// registerAs sends a REGISTER with fields of the caller's making.
func (x *exchange) registerAs(phone *siptest.Phone, fields ...string) *siptest.Transaction {
	return phone.Request(x, sip.REGISTER, "sip:"+office, func(r *sip.Request) {
		r.Set("To", "<"+phone.AOR+">")
		r.Set("Contact", "<"+phone.Contact()+">")
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			r.Set(name, value)
		}
	})
}

// A Path is believed when it leads back to who sent the REGISTER, or comes from a trusted network.
func TestTrustPath(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	c.trusted = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	scenario(t, c, func(x *exchange) {
		alice := x.user("alice", "192.0.2.1")
		for _, path := range []string{"<sip:127.0.0.1:22;lr>", "<sip:10.0.0.1;lr>", "<sip:edge.example.net;lr>", "<sip:198.51.100.7;lr>", "<sip:10.0.0.1;lr>, <sip:192.0.2.1;lr>"} {
			x.registerAs(alice, "Path: "+path).Expect(403)
		}
		res := x.registerAs(alice, "Path: <sip:192.0.2.1;lr>, <sip:10.0.0.1;lr>").Expect(200)
		require.Equal(x, []string{"<sip:192.0.2.1;lr>", "<sip:10.0.0.1;lr>"}, slices.Collect(res.Values("Path")))
		edge := x.Phone("edge", "198.51.100.7")
		edge.AOR = at("alice")
		x.registerAs(edge, "Path: <sip:edge.example.net;lr>").Expect(200)
	})
}

// Who may be whom is not decided by how a domain is written.
func TestTrailingDot(t *testing.T) {
	c := settings()
	c.domains = []string{office, "example.org"}
	c.users = file(t, "bob:example.com:"+auth.Password("example.com", "bob", "secret of bob").MD5+"\n"+
		"bob:example.org:"+auth.Password("example.org", "bob", "another secret").MD5+"\n")
	scenario(t, c, func(x *exchange) {
		bob, victim := x.user("bob", "192.0.2.2"), x.Phone("org", "192.0.2.3")
		victim.Authorize = bob.Authorize
		for _, domain := range []string{"example.org", "example.org.", "EXAMPLE.org."} {
			victim.AOR = "sip:bob@" + domain
			x.register(victim).Expect(401)
		}
		bob.AOR = "sip:bob@example.com."
		x.register(bob).Expect(200)
		x.talk(x.stranger("eve", "203.0.113.9").Call(x, "sip:bob@EXAMPLE.COM."), bob.Incoming(x))
	})
}

// An maddr that is not ours is the only place to go (§16.5), and that is not for strangers to say.
func TestForeignMaddr(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	scenario(t, c, func(x *exchange) {
		alice, bob, eve := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2"), x.stranger("eve", "203.0.113.9")
		there := x.Phone("there", "198.51.100.9")
		tail := ";transport=" + x.Proto.String()
		eve.Invite(x, at("bob")+";maddr=198.51.100.9"+tail).Expect(403)
		x.talk(alice.Call(x, at("bob")+";maddr=198.51.100.9"+tail), there.Incoming(x))
		x.talk(eve.Call(x, at("bob")+";maddr="+server+tail), bob.Incoming(x))
		bob.NoCall(x, time.Second)
	})
}

// A name in a Contact does not lead to this machine.
func TestContactByName(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	scenario(t, c, func(x *exchange) {
		if x.Proto.Reliable() {
			return // calls go over the connection of the registration, whatever the Contact says
		}
		x.Network.SetDNS(siptest.DNS{IP: map[string][]string{"evil.example.net": {"127.0.0.1"}, "pbx.example.net": {"198.51.100.5"}}})
		alice, bob := x.registered("alice", "192.0.2.1"), x.user("bob", "192.0.2.2")
		pbx := x.Phone("pbx", "198.51.100.5")
		x.registerAs(bob, "Contact: <sip:x@evil.example.net:22>").Expect(200)
		alice.Invite(x, at("bob")).Expect(403)
		x.registerAs(bob, "Contact: *", "Expires: 0").Expect(200)
		x.registerAs(bob, "Contact: <sip:x@pbx.example.net>").Expect(200)
		x.talk(alice.Call(x, at("bob")), pbx.Incoming(x))
	})
}
