package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// Without -domain users are those of the addresses that the server listens on.
func TestNoDomain(t *testing.T) {
	c := settings()
	c.domains = nil
	c.users = file(t, "bob:office:"+auth.Password("office", "bob", "secret of bob").MD5+"\n")
	c.numbers = file(t, "alias 100 bob\n")
	scenario(t, c, func(x *exchange) {
		bob, eve := x.user("bob", "192.0.2.2"), x.stranger("eve", "203.0.113.9")
		bob.AOR = "sip:bob@" + server
		register := func(uri string) *siptest.Transaction {
			return bob.Request(x, sip.REGISTER, uri, func(r *sip.Request) {
				r.Set("To", "<"+bob.AOR+">")
				r.Set("Contact", "<"+bob.Contact()+">")
			})
		}
		register("sip:" + server).Expect(200)
		register("sip:" + office).Expect(403) // not ours
		for _, uri := range []string{"sip:bob@" + server, "sip:bob@" + server + ":5060", "sip:100@" + server} {
			x.talk(eve.Call(x, uri), bob.Incoming(x))
		}
		eve.Invite(x, "sip:bob@"+server+":5070").Expect(403)
	})
}

// Users of two domains with the same name are two users.
func TestTwoDomains(t *testing.T) {
	c := settings()
	c.domains = []string{office, "example.org"}
	c.users = file(t, "bob:example.com:"+auth.Password("example.com", "bob", "secret of bob").MD5+"\n"+
		"bob:example.org:"+auth.Password("example.org", "bob", "another secret").MD5+"\n")
	scenario(t, c, func(x *exchange) {
		com, org, eve := x.user("bob", "192.0.2.2"), x.Phone("org", "192.0.2.3"), x.stranger("eve", "203.0.113.9")
		org.AOR = "sip:bob@example.org"
		org.Authorize = com.Authorize
		x.register(org).Expect(401) // the password of the other
		org.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
			return auth.Authorize(r, challenge, "bob", "another secret")
		}
		x.register(com).Expect(200)
		x.register(org).Expect(200)
		x.talk(eve.Call(x, "sip:bob@example.com"), com.Incoming(x))
		x.talk(eve.Call(x, "sip:bob@example.org"), org.Incoming(x))
	})
}

// What is for the server itself goes to a handler, else it is answered with 404.
func TestLocalHandler(t *testing.T) {
	c := settings()
	within := func(r *sip.Request) { r.SetToTag("x"); r.Set("Event", "presence") }
	scenario(t, c, func(x *exchange) {
		alice := x.registered("alice", "192.0.2.1")
		alice.Request(x, sip.SUBSCRIBE, at("watched"), within).Expect(404)
		alice.Request(x, sip.SUBSCRIBE, "sip:"+office, within).Expect(404)
	})
	c.local = sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(202) })
	scenario(t, c, func(x *exchange) {
		alice := x.registered("alice", "192.0.2.1")
		alice.Request(x, sip.SUBSCRIBE, at("watched"), within).Expect(202)
		alice.Request(x, sip.SUBSCRIBE, "sip:"+office, within).Expect(202)
		alice.Request(x, sip.PUBLISH, at("alice")).Expect(202)
	})
}

// baresip tries a wrong password 16 times in 0.6 s: each time it is asked again, and the right password is welcome afterwards.
func TestWrongPassword(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	scenario(t, c, func(x *exchange) {
		alice := x.user("alice", "192.0.2.1")
		right := alice.Authorize
		alice.Authorize = func(r *sip.Request, challenge *sip.Response) bool {
			return auth.Authorize(r, challenge, "alice", "wrong")
		}
		for range 16 {
			x.register(alice).Expect(401)
			x.Sleep(40 * time.Millisecond)
		}
		alice.Authorize = right
		x.register(alice).Expect(200)
	})
}

// A To tag is written in no time: it spares nobody the password, and rings no phone.
func TestNoDialog(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	scenario(t, c, func(x *exchange) {
		x.registered("alice", "192.0.2.1")
		bob, eve := x.registered("bob", "192.0.2.2"), x.stranger("eve", "203.0.113.9")
		bob.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response {
			x.Errorf("reached the phone: %s", r)
			return nil
		}
		as := func(m sip.Method, route string) int {
			return eve.Request(x, m, at("bob"), func(r *sip.Request) {
				r.Set("From", "<"+at("alice")+">;tag=a")
				r.SetToTag("x")
				if route != "" {
					r.Set("Route", route)
				}
			}).Final().Code
		}
		for _, m := range []sip.Method{sip.MESSAGE, sip.BYE, sip.REFER, sip.NOTIFY} {
			require.Equal(x, 404, as(m, ""))
			require.Equal(x, 404, as(m, "<sip:"+server+";lr>"))
			require.Equal(x, 404, as(m, "<sip:"+server+";lr;s=AAAAAAAAAAA>"))
		}
		bob.NoCall(x, time.Second)
	})
}

// A flood of REGISTERs without passwords, or of scanners, leaves nothing behind.
func TestFlood(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	scenario(t, c, func(x *exchange) {
		mallory := x.stranger("mallory", "203.0.113.9")
		for i := range 300 {
			mallory.Request(x, sip.REGISTER, "sip:"+office, func(r *sip.Request) {
				r.Set("To", fmt.Sprintf("<sip:u%d@%s>", i, office))
				r.Set("Contact", "<sip:x@203.0.113.9>")
			}).Expect(401)
			x.Sleep(30 * time.Millisecond) // 33 a second
		}
		st := x.p.server.Stats()
		require.Zero(x, st.Transactions.ServersTotal)
		require.Zero(x, x.p.registering.Stats().Nonces)
		for aor := range x.p.store.Scan(context.Background()) {
			require.Fail(x, "registered", aor)
		}
		x.registered("alice", "192.0.2.5")
		mallory.Request(x, sip.REGISTER, "sip:"+office, func(r *sip.Request) { r.Set("User-Agent", "friendly-scanner") }).Nothing(time.Second)
	})
}

// A server that drains refuses new calls and lets those in progress end.
func TestDrain(t *testing.T) {
	c := settings()
	c.drain = time.Minute
	scenario(t, c, func(x *exchange) {
		alice, bob := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2")
		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		in.ExpectAck()
		stopped := make(chan error, 1)
		go func() { stopped <- x.p.server.Shutdown(context.Background()) }()
		x.Sleep(time.Second)
		require.True(x, bob.Request(x, sip.OPTIONS, at("alice")).Expect(503).Has("Retry-After"))
		call.Bye()
		in.ExpectBye()
		require.NoError(x, <-stopped)
	})
}
