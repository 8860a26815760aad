package siptest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

// phones runs a scenario with two phones that speak to each other directly, over UDP and TCP.
func phones(t *testing.T, f func(t *testing.T, n *siptest.Network, alice, bob *siptest.Phone)) {
	for _, p := range []transport.Proto{transport.UDP, transport.TCP} {
		t.Run(map[transport.Proto]string{transport.UDP: "udp", transport.TCP: "tcp"}[p], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &siptest.Network{T: t}
				alice, bob := phone(t, n, "alice", "192.0.2.1", p), phone(t, n, "bob", "192.0.2.2", p)
				defer alice.Close()
				defer bob.Close()
				f(t, n, alice, bob)
			})
		})
	}
}

func phone(t siptest.T, n *siptest.Network, name, ip string, proto transport.Proto) *siptest.Phone {
	t.Helper()
	p := &siptest.Phone{T: t, Net: n.Host(ip), Name: name, Listen: ip + ":5060", Proto: proto}
	p.Start()
	return p
}

func fullCall(t siptest.T, alice, bob *siptest.Phone) {
	call := alice.Invite(t, bob.Contact())
	call.Expect(180)
	call.Expect(200)
	call.Ack()
	in := bob.Incoming(t)
	in.ExpectAck()
	call.Info("text/plain", "hello")
	in.ExpectRequest(sip.INFO)
	in.Reinvite()
	call.ExpectRequest(sip.INVITE)
	call.ExpectAck()
	call.Bye()
	in.ExpectBye()
}

func TestCallBetweenPhones(t *testing.T) {
	phones(t, func(t *testing.T, _ *siptest.Network, alice, bob *siptest.Phone) {
		fullCall(t, alice, bob)
		bob.AnswerAfter(10 * time.Second)
		start := time.Now()
		call := alice.Call(t, bob.Contact())
		require.Equal(t, 10*time.Second, time.Since(start))
		in := bob.Incoming(t)
		in.ExpectAck()
		in.Bye()
		call.ExpectBye()
		require.True(t, call.Ended())
	})
}

func TestCancelBetweenPhones(t *testing.T) {
	phones(t, func(t *testing.T, _ *siptest.Network, alice, bob *siptest.Phone) {
		bob.AnswerAfter(time.Minute)
		call := alice.Invite(t, bob.Contact())
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		in := bob.Incoming(t)
		in.ExpectCancel()
		in.ExpectAck()
		time.Sleep(2 * time.Minute)
	})
}

func TestRefusals(t *testing.T) {
	phones(t, func(t *testing.T, _ *siptest.Network, alice, bob *siptest.Phone) {
		bob.Refuse(486)
		alice.Invite(t, bob.Contact()).Expect(486)
		bob.Incoming(t).ExpectAck()
		bob.Redirect(302, "sip:carol@192.0.2.9", "<sip:dave@192.0.2.9>;q=0.5")
		res := alice.Invite(t, bob.Contact()).Expect(302)
		var got []string
		for c := range res.Contacts() {
			got = append(got, c.URI.User)
		}
		require.Equal(t, []string{"carol", "dave"}, got)
		alice.Request(t, sip.OPTIONS, bob.Contact()).Expect(200)
		bob.Received(t, sip.OPTIONS)
		bob.Silent()
		call := alice.Invite(t, bob.Contact())
		bob.Incoming(t)
		in := bob.Incoming(t)
		call.Nothing(20 * time.Second)
		in.Trying()
		in.Respond(183)
		call.Expect(183)
		in.Refuse(603)
		call.Expect(603)
	})
}

func TestChallenge(t *testing.T) {
	phones(t, func(t *testing.T, _ *siptest.Network, alice, bob *siptest.Phone) {
		alice.Authorize = func(req *sip.Request, res *sip.Response) bool {
			req.Set("Authorization", "Digest answer to "+res.Get("WWW-Authenticate"))
			return true
		}
		bob.OnCall(func(c *siptest.Call) {
			if c.Invitation().Has("Authorization") {
				c.Answer()
				return
			}
			c.Respond(401, func(res *sip.Response) { res.Set("WWW-Authenticate", "question") })
		})
		call := alice.Call(t, bob.Contact())
		require.Equal(t, "Digest answer to question", call.Invitation().Get("Authorization"))
		call.Bye()
	})
}

// Every single datagram of a call may be lost.
func TestLossOfEachMessage(t *testing.T) {
	for lost := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			n := &siptest.Network{T: t}
			n.SetLink("", "", siptest.Link{Delay: 5 * time.Millisecond, Drop: func(p siptest.Packet) bool { return p.N == lost }})
			alice, bob := phone(t, n, "alice", "192.0.2.1", transport.UDP), phone(t, n, "bob", "192.0.2.2", transport.UDP)
			defer alice.Close()
			defer bob.Close()
			bob.AnswerAfter(time.Second)
			fullCall(t, alice, bob)
			bob.Refuse(486)
			alice.Invite(t, bob.Contact()).Expect(486)
			bob.Incoming(t).ExpectAck()
			time.Sleep(time.Minute)
		})
	}
}

func TestHeavyLoss(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			n := &siptest.Network{T: t, Seed: seed}
			n.SetLink("", "", siptest.Link{Delay: 5 * time.Millisecond, Loss: 0.3, Duplicate: 0.2, Reorder: 0.2})
			alice, bob := phone(t, n, "alice", "192.0.2.1", transport.UDP), phone(t, n, "bob", "192.0.2.2", transport.UDP)
			defer alice.Close()
			defer bob.Close()
			call := alice.Call(t, bob.Contact())
			bob.Incoming(t).ExpectAck()
			call.Bye()
			time.Sleep(time.Minute)
		})
	}
}

// complaints is a T that keeps what it is told.
type complaints struct{ got []string }

func (c *complaints) Helper()                      {}
func (c *complaints) Logf(string, ...any)          {}
func (c *complaints) Errorf(f string, args ...any) { c.got = append(c.got, fmt.Sprintf(f, args...)) }
func (c *complaints) Fatalf(f string, args ...any) { c.Errorf(f, args...) }
func (c *complaints) first() string {
	if len(c.got) == 0 {
		return ""
	}
	s, _, _ := strings.Cut(c.got[0], "\n")
	return s
}

const invite = `INVITE sip:bob@192.0.2.2:5060 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1
Max-Forwards: 70
From: <sip:alice@192.0.2.1>;tag=a
To: <sip:bob@192.0.2.2>
Call-ID: x
CSeq: 1 INVITE
Contact: <sip:alice@192.0.2.1>
Content-Length: 0

`

// The phone under test must notice each of these faults.
func TestPhoneFindsFaults(t *testing.T) {
	ack := strings.NewReplacer("INVITE", "ACK", "\nContact: <sip:alice@192.0.2.1>", "").Replace(invite)
	for _, c := range []struct {
		name, want string
		messages   []string
	}{
		{"none", "", []string{invite}},
		{"no cookie", "bob: a Via whose branch lacks the magic cookie:", []string{strings.Replace(invite, "z9hG4bK1", "1", 1)}},
		{"wrong transport", "bob: the topmost Via names another transport than the message came by, UDP:", []string{strings.Replace(invite, "/UDP", "/TCP", 1)}},
		{"route left", "bob: a request reached its end with a Route left on it:", []string{strings.Replace(invite, "Max-F", "Route: <sip:192.0.2.9;lr>\nMax-F", 1)}},
		{"changed copy", "bob: a copy of a request differs from the first:", []string{invite, strings.Replace(invite, "70", "69", 1)}},
		{"one branch twice", "bob: two Vias with one branch:", []string{strings.Replace(invite, "Max-F", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\nMax-F", 1)}},
		{"ack to nothing", "bob: an ACK for no call of ours:", []string{ack}},
		{"ack with two Vias", "bob: CANCEL, and ACK of a final that is no 2xx, have one Via:", []string{invite, strings.Replace(ack, "Max-F", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK2\nMax-F", 1)}},
		{"ack with another CSeq", "bob: ACK with another CSeq than the request it is for:", []string{invite, strings.Replace(ack, "1 ACK", "2 ACK", 1)}},
		{"response to nothing", "bob: a response to no request of ours, from 192.0.2.1:5060:", []string{"SIP/2.0 200 OK\n" + strings.SplitN(invite, "\n", 2)[1]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, found := &siptest.Network{T: t}, &complaints{}
				alice, bob := phone(t, n, "alice", "192.0.2.1", transport.UDP), phone(found, n, "bob", "192.0.2.2", transport.UDP)
				bob.Refuse(486)
				alice.Raw()
				for _, m := range c.messages {
					alice.SendTo("192.0.2.2:5060", m)
					synctest.Wait()
				}
				alice.Close()
				bob.Close()
				require.Equal(t, c.want, found.first())
			})
		})
	}
}

// The caller must notice what a proxy may do wrong with responses.
func TestPhoneFindsFaultsInResponses(t *testing.T) {
	second := func(code int) func(*siptest.Phone, *sip.Request) {
		return func(p *siptest.Phone, r *sip.Request) {
			for _, c := range []int{486, code} {
				p.SendTo("192.0.2.1:5060", reply(r, c).String())
			}
		}
	}
	one := func(edit func(*sip.Response)) func(*siptest.Phone, *sip.Request) {
		return func(p *siptest.Phone, r *sip.Request) {
			res := reply(r, 200)
			edit(res)
			p.SendTo("192.0.2.1:5060", res.String())
		}
	}
	for _, c := range []struct {
		name, want string
		answer     func(*siptest.Phone, *sip.Request)
	}{
		{"none", "", one(func(*sip.Response) {})},
		{"second final", "alice: a second final response to INVITE:", second(600)},
		{"2xx after final", "alice: a 2xx to INVITE after its final response 486:", second(200)},
		{"two Vias", "alice: INVITE: a response with a Via that is not ours:", one(func(r *sip.Response) { r.Prepend("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx") })},
		{"From", "alice: INVITE: From is not that of the request:", one(func(r *sip.Response) { r.Set("From", "<sip:x@y>;tag=1") })},
		{"no tag", "alice: INVITE: a response without a To tag:", one(func(r *sip.Response) { r.Set("To", "<sip:bob@192.0.2.2>") })},
		{"no contact", "alice: INVITE: a 2xx to INVITE without Contact:", one(func(r *sip.Response) { r.Del("Contact") })},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, found := &siptest.Network{T: t}, &complaints{}
				alice, bob := phone(found, n, "alice", "192.0.2.1", transport.UDP), phone(t, n, "bob", "192.0.2.2", transport.UDP)
				bob.Raw()
				alice.Invite(t, bob.Contact())
				req, err := sip.ParseRequest(bob.Receive())
				require.NoError(t, err)
				c.answer(bob, req)
				synctest.Wait()
				alice.Close()
				bob.Close()
				require.Equal(t, c.want, found.first())
			})
		})
	}
}

func reply(r *sip.Request, code int) *sip.Response {
	res := sip.NewResponse(r, code, "", "bob")
	res.Set("Contact", "<sip:bob@192.0.2.2:5060>")
	return res
}

// The route set of §12.1 and §12.2.1.1 with a loose and a strict router.
func TestRouteSet(t *testing.T) {
	for _, c := range []struct {
		name, record, uri string
		routes            []string
	}{
		{"loose", "<sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>", "sip:bob@192.0.2.2:5060", []string{"<sip:192.0.2.9;lr>", "<sip:192.0.2.8;lr>"}},
		{"strict", "<sip:192.0.2.8;lr>, <sip:192.0.2.9>", "sip:192.0.2.9", []string{"<sip:192.0.2.8;lr>", "<sip:bob@192.0.2.2:5060>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &siptest.Network{T: t}
				alice, bob := phone(t, n, "alice", "192.0.2.1", transport.UDP), phone(t, n, "bob", "192.0.2.2", transport.UDP)
				proxy := phone(t, n, "proxy", "192.0.2.9", transport.UDP)
				defer func() { alice.Close(); bob.Close(); proxy.Close() }()
				proxy.Raw()
				bob.Raw()
				call := alice.Invite(t, bob.Contact())
				req, err := sip.ParseRequest(bob.Receive())
				require.NoError(t, err)
				res := reply(req, 200)
				res.Set("Record-Route", c.record)
				bob.SendTo("192.0.2.1:5060", res.String())
				call.Expect(200)
				call.Ack()
				req, err = sip.ParseRequest(proxy.Receive())
				require.NoError(t, err)
				require.Equal(t, sip.ACK, req.Method)
				require.Equal(t, c.uri, req.URI.String())
				var routes []string
				for r := range req.Values("Route") {
					routes = append(routes, r)
				}
				require.Equal(t, c.routes, routes)
			})
		})
	}
}
