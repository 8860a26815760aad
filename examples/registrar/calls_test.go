package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

func TestAliasesAndSpeedDials(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	c.gateway = "198.51.100.8:5060"
	c.numbers = file(t, `
		alias info   bob      # a name
		alias 100    info     # a number, in two steps
		alias circle round
		alias round  circle
		speed alice  22 sip:bob@example.com
		speed alice  33 sip:+33123456789@example.com
	`)
	scenario(t, c, func(x *exchange) {
		alice, bob, gateway := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2"), x.stranger("gateway", "198.51.100.8")
		for _, uri := range []string{at("info"), at("100"), at("22"), at("100") + ";user=phone", at("2%32"), "tel:100", "tel:22"} {
			x.talk(alice.Call(x, uri), bob.Incoming(x))
		}
		alice.Invite(x, at("circle")).Expect(404)
		bob.Invite(x, at("22")).Expect(404) // alice's

		x.talk(alice.Call(x, at("33")), invited(x, gateway, "sip:+33123456789@198.51.100.8:5060"))
		bob.NoCall(x, time.Second)
	})
}

// invited is the next call of a phone, which must be for uri.
func invited(x *exchange, p *siptest.Phone, uri string) *siptest.Call {
	in := p.Incoming(x)
	require.Equal(x, uri, in.Invitation().URI.WithoutParam("transport").String())
	return in
}

func TestPhoneNetwork(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice", "bob")
	c.gateway = "198.51.100.8:5060"
	scenario(t, c, func(x *exchange) {
		alice, gateway := x.registered("alice", "192.0.2.1"), x.stranger("gateway", "198.51.100.8")
		for _, number := range []string{"+33123456789", "0033123456789"} {
			x.talk(alice.Call(x, at(number)), invited(x, gateway, "sip:"+number+"@198.51.100.8:5060"))
		}
		x.talk(alice.Call(x, at("+33123456789;phone-context=x")), invited(x, gateway, "sip:+33123456789@198.51.100.8:5060"))
		x.talk(alice.Call(x, "tel:+33-123.456(789)"), invited(x, gateway, "sip:+33123456789@198.51.100.8:5060"))
		for _, other := range []string{"33123456789", "+", "+33x", "0", strings.Repeat("00", 20)} {
			alice.Invite(x, at(other)).Expect(404)
		}
		x.stranger("eve", "203.0.113.9").Invite(x, at("+33123456789")).Expect(403)

		bob := x.registered("bob", "192.0.2.2") // calls of the telephone network come in
		x.talk(gateway.Call(x, at("bob")), bob.Incoming(x))
	})
}

func TestPrefixRules(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	c.gateway = "198.51.100.8"
	c.numbers = file(t, `
		prefix +      gateway=198.51.100.9:5060
		prefix +33    strip=3 add=0
		prefix +33899 deny
		prefix 9      strip=1
	`)
	scenario(t, c, func(x *exchange) {
		alice, national, world := x.registered("alice", "192.0.2.1"), x.stranger("national", "198.51.100.8"), x.stranger("world", "198.51.100.9")
		x.talk(alice.Call(x, at("+33123456789")), invited(x, national, "sip:0123456789@198.51.100.8"))
		x.talk(alice.Call(x, at("+4930123456")), invited(x, world, "sip:+4930123456@198.51.100.9:5060"))
		x.talk(alice.Call(x, at("9112")), invited(x, national, "sip:112@198.51.100.8"))
		alice.Invite(x, at("+33899123456")).Expect(403)
		alice.Invite(x, at("0033123456789")).Expect(404)
	})
}

func TestVoicemail(t *testing.T) {
	c := settings()
	c.voicemail = "198.51.100.8:5060"
	scenario(t, c, func(x *exchange) {
		const mailbox = "sip:bob@198.51.100.8:5060"
		alice, mail := x.registered("alice", "192.0.2.1"), x.stranger("mail", "198.51.100.8")
		x.talk(alice.Call(x, at("bob")), invited(x, mail, mailbox)) // offline

		bob := x.registered("bob", "192.0.2.2")
		for _, code := range []int{486, 600, 480} {
			bob.Refuse(code)
			x.talk(alice.Call(x, at("bob")), invited(x, mail, mailbox))
			bob.Incoming(x)
		}
		bob.Ring()
		start := time.Now()
		x.talk(alice.Call(x, at("bob")), invited(x, mail, mailbox))
		require.WithinDuration(x, start.Add(30*time.Second), time.Now(), 2*time.Second)
		bob.Incoming(x).ExpectCancel()

		bob.Refuse(603) // does not want the call, nor a message of it
		alice.Invite(x, at("bob")).Expect(603)
		bob.Incoming(x)

		bob.Answer()
		x.talk(alice.Call(x, at("bob")), bob.Incoming(x))
		alice.Request(x, sip.SUBSCRIBE, at("alice"), func(r *sip.Request) { r.Set("Event", "message-summary") }).Expect(200)
		mail.Received(x, sip.SUBSCRIBE)
		mail.NoCall(x, time.Second)
	})
}

// A caller who gave up is not sent to voicemail.
func TestCancelEndsTheSearch(t *testing.T) {
	c := settings()
	c.voicemail = "198.51.100.8:5060"
	scenario(t, c, func(x *exchange) {
		alice, bob, mail := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2"), x.stranger("mail", "198.51.100.8")
		bob.Ring()
		call := alice.Invite(x, at("bob"))
		call.Expect(180)
		call.Cancel(func(r *sip.Request) { r.SetToTag("broken") }) // some devices do
		call.Expect(487)
		bob.Incoming(x).ExpectCancel()
		mail.NoCall(x, time.Minute)
		require.EqualValues(x, 1, x.p.calls.Stats().Cancelled)
	})
}

func TestMailboxURI(t *testing.T) {
	c := settings()
	c.voicemail = "sip:vm@198.51.100.8"
	scenario(t, c, func(x *exchange) {
		alice, mail := x.registered("alice", "192.0.2.1"), x.stranger("mail", "198.51.100.8")
		x.talk(alice.Call(x, at("bob")), invited(x, mail, "sip:vm@198.51.100.8;target=sip:bob%40example.com;cause=404"))
	})
}

func TestForkingByQ(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice, desk, mobile, soft := x.registered("alice", "192.0.2.1"), x.user("desk", "192.0.2.2"), x.user("mobile", "192.0.2.3"), x.user("soft", "192.0.2.4")
		for phone, q := range map[*siptest.Phone]string{desk: "1.0", mobile: "0.5", soft: "0.5"} {
			phone.AOR = at("bob")
			x.register(phone, "q="+q).Expect(200)
		}
		desk.Refuse(480)
		mobile.Ring()
		soft.AnswerAfter(5 * time.Second)
		call := alice.Call(x, at("bob"))
		desk.Incoming(x)
		mobile.Incoming(x).ExpectCancel()
		x.talk(call, soft.Incoming(x))
	})
}

func TestRedirections(t *testing.T) {
	redirected := func(mode string, f func(x *exchange, call *siptest.Call, carol *siptest.Phone)) {
		t.Run(mode, func(t *testing.T) {
			c := settings()
			c.redirects = mode
			scenario(t, c, func(x *exchange) {
				alice, bob, carol := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2"), x.registered("carol", "192.0.2.3")
				bob.Redirect(302, "<sip:other@198.51.100.7>", "<"+at("carol")+">")
				f(x, alice.Invite(x, at("bob")), carol)
			})
		})
	}
	redirected("pass", func(x *exchange, call *siptest.Call, carol *siptest.Phone) {
		call.Expect(302)
		carol.NoCall(x, time.Second)
	})
	redirected("refuse", func(x *exchange, call *siptest.Call, carol *siptest.Phone) {
		require.False(x, call.Expect(480).Has("Contact"))
		carol.NoCall(x, time.Second)
	})
	redirected("follow", func(x *exchange, call *siptest.Call, carol *siptest.Phone) {
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		x.talk(call, carol.Incoming(x))
	})
	t.Run("highest q", func(t *testing.T) { // §16.6: from highest qvalue to lowest; without one it is 1
		for _, contacts := range [][]string{
			{"<" + at("dave") + ">;q=0.1", "<" + at("carol") + ">;q=0.9"},
			{"<" + at("dave") + ">;q=0.7", "<" + at("carol") + ">"},
			{"<" + at("carol") + ">;q=0.5", "<" + at("dave") + ">;q=0.50"},
			{"<" + at("dave") + ">;q=high", "<" + at("carol") + ">;q=0.001"},
		} {
			scenario(t, settings(), func(x *exchange) {
				alice, bob := x.registered("alice", "192.0.2.1"), x.registered("bob", "192.0.2.2")
				carol, dave := x.registered("carol", "192.0.2.3"), x.registered("dave", "192.0.2.4")
				bob.Redirect(302, contacts...)
				x.talk(alice.Call(x, at("bob")), carol.Incoming(x))
				dave.NoCall(x, time.Second)
			})
		}
	})
	t.Run("circle", func(t *testing.T) {
		scenario(t, settings(), func(x *exchange) {
			bob := x.registered("bob", "192.0.2.2")
			bob.Redirect(302, "<"+at("bob")+">")
			x.registered("alice", "192.0.2.1").Invite(x, at("bob")).Expect(480)
		})
	})
}

// A phone with a GRUU writes it into its Contact: requests in the dialog come back to us and are for this one device.
func TestRequestsToGRUU(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice, bob, other := x.registered("alice", "192.0.2.1"), x.user("bob", "192.0.2.2"), x.user("other", "192.0.2.3")
		const instance = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
		gruu := func(r *sip.Request) { r.Set("Supported", "gruu") }
		bob.Edit = gruu
		res := x.register(bob, instance).Expect(200)
		c, err := sip.ParseNameAddr(first(res.Values("Contact")))
		require.NoError(x, err)
		pub, _ := c.Params.Get("pub-gruu")
		require.NotEmpty(x, pub)
		other.AOR = at("bob")
		x.register(other, "q=0.1").Expect(200)

		bob.EditResponse = func(r *sip.Response) {
			if r.IsSuccess() && r.Has("Contact") {
				r.Set("Contact", "<"+strings.Trim(pub, `"`)+">")
			}
		}
		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		in.ExpectAck()
		call.Info("application/dtmf-relay", "Signal=2\r\n")
		in.ExpectRequest(sip.INFO)
		call.Bye()
		in.ExpectBye()
	})
}

func first(values func(func(string) bool)) string {
	for v := range values {
		return v
	}
	return ""
}
