package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

const balancer = "192.0.2.10"

// A farm is a balancer, a caller and two gateways in a network in memory.
type farm struct {
	*testing.T
	net    *siptest.Network
	caller *siptest.Phone
	gw     [2]*siptest.Phone
	proto  transport.Proto
}

// balance runs a scenario over UDP and TCP and on both runners, in virtual time.
func balance(t *testing.T, args string, f func(f *farm)) {
	for _, proto := range []transport.Proto{transport.UDP, transport.TCP} {
		for _, runner := range []string{"goroutine", "coroutine"} {
			t.Run(proto.String()+"/"+runner, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { farmed(t, args+" -runner "+runner, proto, f) })
			})
		}
	}
}

func farmed(t *testing.T, args string, proto transport.Proto, f func(f *farm)) {
	m := &farm{T: t, net: &siptest.Network{T: t}, proto: proto}
	args += " -gateways 192.0.2.1:5060,192.0.2.2:5060 -listen udp:" + balancer + ":5060 -listen tcp:" + balancer + ":5060"
	c, err := parse(strings.Fields(args))
	require.NoError(t, err)
	s := c.server(io.Discard)
	s.Net = m.net.Host(balancer)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	<-s.Ready()
	m.caller = m.phone("caller", "198.51.100.7")
	m.gw = [2]*siptest.Phone{m.phone("gw1", "192.0.2.1"), m.phone("gw2", "192.0.2.2")}
	t.Cleanup(func() {
		for _, p := range []*siptest.Phone{m.caller, m.gw[0], m.gw[1]} {
			p.Close()
		}
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, <-ended)
	})
	f(m)
}

func (m *farm) phone(name, ip string) *siptest.Phone {
	p := &siptest.Phone{T: m.T, Net: m.net.Host(ip), Name: name, Listen: ip + ":5060", Proto: m.proto}
	if name == "caller" {
		p.Proxy = balancer + ":5060"
	}
	p.Start()
	return p
}

// number is what the caller dials.
func (m *farm) number() string {
	if m.proto == transport.TCP {
		return "sip:100@" + balancer + ";transport=tcp"
	}
	return "sip:100@" + balancer
}

// host is where a request to a gateway ends up.
func host(r *sip.Request) string { return r.URI.HostPort() }

func TestStatefulCall(t *testing.T) {
	balance(t, "-mode stateful", func(m *farm) {
		for i := range 4 { // in turn, from the first on
			call := m.caller.Call(m, m.number())
			in := m.gw[i%2].Incoming(m)
			require.Equal(m, "100", in.Invitation().URI.User)
			require.Equal(m, m.gw[i%2].Listen, host(in.Invitation()))
			require.True(m, in.Invitation().Has("Record-Route"))
			in.ExpectAck()
			call.Info("application/dtmf-relay", "Signal=2\r\nDuration=4800\r\n")
			in.ExpectRequest(sip.INFO)
			in.Info("application/dtmf-relay", "Signal=3\r\nDuration=4800\r\n")
			call.ExpectRequest(sip.INFO)
			in.Bye()
			call.ExpectBye()
		}
	})
}

func TestStatefulCancel(t *testing.T) {
	balance(t, "-mode stateful", func(m *farm) {
		m.gw[0].Ring()
		call := m.caller.Invite(m, m.number())
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		in := m.gw[0].Incoming(m)
		in.ExpectCancel()
		in.ExpectAck()
		m.gw[1].NoCall(m, time.Minute)
	})
}

// Copies of an INVITE are absorbed and do not advance the alternation.
func TestStatefulAbsorbsCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		farmed(t, "-mode stateful", transport.UDP, func(m *farm) {
			m.gw[0].Silent()
			m.net.SetLink(balancer, m.caller.Listen[:12], siptest.Link{Drop: func(siptest.Packet) bool { return true }})
			call := m.caller.Invite(m, m.number()) // hears nothing and repeats
			in := m.gw[0].Incoming(m)
			time.Sleep(4 * time.Second)
			m.net.SetLink(balancer, m.caller.Listen[:12], siptest.Link{})
			in.Answer()
			call.Expect(200)
			call.Ack()
			in.ExpectAck()
			call.Bye()
			in.ExpectBye()
			m.gw[1].NoCall(m, time.Minute)
		})
	})
}

func TestWithinDialogUnknown(t *testing.T) {
	balance(t, "-mode stateful", func(m *farm) {
		tag := func(r *sip.Request) { r.SetToTag("x") }
		m.caller.Request(m, sip.BYE, m.number(), tag).Expect(404)
		m.caller.Request(m, sip.OPTIONS, m.number()).Expect(404)
		m.caller.Request(m, sip.REGISTER, m.number()).Expect(404)
	})
}

func TestMethodsAny(t *testing.T) {
	balance(t, "-mode stateful -methods any", func(m *farm) {
		m.caller.Request(m, sip.OPTIONS, m.number()).Expect(200)
		m.gw[0].Received(m, sip.OPTIONS)
	})
}

func TestAllow(t *testing.T) {
	balance(t, "-mode stateful -allow 3.4.5.6/24,4.5.6.7/24", func(m *farm) {
		m.caller.Invite(m, m.number()).Expect(403)
	})
	balance(t, "-mode stateful -allow 198.51.100.77/24", func(m *farm) {
		m.caller.Call(m, m.number()).Bye()
	})
	for _, mode := range []string{"stateless", "redirect", "failover"} {
		balance(t, "-allow 3.4.5.6/24 -mode "+mode, func(m *farm) {
			m.caller.Invite(m, m.number()).Expect(403)
		})
	}
}

// All that belongs to one transaction meets one gateway, and what comes after goes past the balancer.
func TestStatelessByHash(t *testing.T) {
	balance(t, "-mode stateless", func(m *farm) {
		m.gw[0].AnswerAfter(time.Second)
		m.gw[1].AnswerAfter(time.Second)
		var met [2]bool
		for !met[0] || !met[1] {
			call := m.caller.Call(m, m.number())
			i := m.which(call)
			met[i] = true
			in := m.gw[i].Incoming(m)
			require.False(m, in.Invitation().Has("Record-Route"))
			ack := in.ExpectAck()
			require.Equal(m, 1, vias(ack), "the ACK of a 200 goes past the balancer")
			call.Bye()
			in.ExpectBye()
		}
	})
}

func TestStatelessCancelAndRefusal(t *testing.T) {
	balance(t, "-mode stateless", func(m *farm) {
		m.gw[0].Lenient, m.gw[1].Lenient = true, true // who looks for one Via in CANCEL and ACK forgets stateless proxies
		m.gw[0].Ring()
		m.gw[1].Ring()
		call := m.caller.Invite(m, m.number())
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		in := m.gw[m.which(call)].Incoming(m)
		in.ExpectCancel()
		require.Equal(m, 2, vias(in.ExpectAck()), "the ACK of a 487 takes the way of the INVITE")
		m.gw[0].Refuse(486)
		m.gw[1].Refuse(486)
		call = m.caller.Invite(m, m.number())
		call.Expect(486)
		m.gw[m.which(call)].Incoming(m).ExpectAck()
	})
}

// which tells by the same hash where a call went.
func (m *farm) which(c *siptest.Call) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(c.ID()) {
		h = (h ^ uint32(c.ID()[i])) * 16777619
	}
	return int(h % 2)
}

func vias(r *sip.Request) (n int) {
	for range r.Vias() {
		n++
	}
	return n
}

// A caller does not choose where a stateless balancer sends.
func TestStatelessDropsRoutes(t *testing.T) {
	balance(t, "-mode stateless -pick roundrobin", func(m *farm) {
		call := m.caller.Invite(m, m.number(), func(r *sip.Request) { r.Add("Route", "<sip:203.0.113.9;lr>") })
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		require.False(m, m.gw[0].Incoming(m).Invitation().Has("Route"))
		call.Bye()
	})
}

// Nor does maddr in the Request-URI (§19.1.1), in any mode.
func TestCallerDoesNotChooseByMaddr(t *testing.T) {
	for _, mode := range []string{"stateless", "stateful", "failover"} {
		balance(t, "-pick roundrobin -mode "+mode, func(m *farm) {
			call := m.caller.Invite(m, m.number()+";maddr=203.0.113.9")
			call.Expect(180)
			call.Expect(200)
			call.Ack()
			require.Empty(m, m.gw[0].Incoming(m).Invitation().URI.WithoutParam("transport").Params)
			call.Bye()
		})
	}
}

func TestFailover(t *testing.T) {
	for _, code := range []int{408, 500, 503} {
		balance(t, "-mode failover", func(m *farm) {
			m.gw[0].Refuse(code)
			call := m.caller.Call(m, m.number())
			m.gw[0].Incoming(m).ExpectAck()
			in := m.gw[1].Incoming(m)
			require.Equal(m, m.gw[1].Listen, host(in.Invitation()))
			in.ExpectAck()
			call.Bye()
			in.ExpectBye()
		})
	}
}

func TestFailoverEndsAtTheSecond(t *testing.T) {
	balance(t, "-mode failover", func(m *farm) {
		m.gw[0].Refuse(500)
		m.gw[1].Refuse(500)
		m.caller.Invite(m, m.number()).Expect(500)
		m.gw[0].Incoming(m)
		m.gw[1].Incoming(m)
		m.gw[0].NoCall(m, time.Minute)
		m.gw[1].NoCall(m, 0)
	})
}

func TestFailoverLeavesBusyAlone(t *testing.T) {
	balance(t, "-mode failover", func(m *farm) {
		m.gw[0].Refuse(486)
		m.caller.Invite(m, m.number()).Expect(486)
		m.gw[1].NoCall(m, time.Minute)
	})
}

func TestFailoverOnSilence(t *testing.T) {
	balance(t, "-mode failover", func(m *farm) {
		m.gw[0].Silent()
		start := time.Now()
		call := m.caller.Call(m, m.number())
		require.Less(m, time.Since(start), 5*time.Second)
		m.gw[1].Incoming(m).ExpectAck()
		call.Bye()
	})
}

// A cancelled call is not tried elsewhere.
func TestFailoverNotAfterCancel(t *testing.T) {
	balance(t, "-mode failover", func(m *farm) {
		m.gw[0].Ring()
		call := m.caller.Invite(m, m.number())
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		m.gw[1].NoCall(m, time.Minute)
	})
}

func TestRedirect(t *testing.T) {
	balance(t, "-mode redirect", func(m *farm) {
		for i := range 3 {
			res := m.caller.Invite(m, m.number()).Expect(302)
			var contacts []string
			for c, err := range res.Contacts() {
				require.NoError(m, err)
				contacts = append(contacts, c.URI.WithoutParam("transport").String())
			}
			require.Equal(m, []string{"sip:100@" + m.gw[i%2].Listen}, contacts)
		}
		m.caller.Request(m, sip.BYE, m.number(), func(r *sip.Request) { r.SetToTag("x") }).Expect(404)
		m.caller.Invite(m, m.number(), func(r *sip.Request) { r.SetToTag("x") }).Expect(404)
		m.gw[0].NoCall(m, time.Minute)
	})
}

// §8.3: never to the URI that was asked for, nor to what is no SIP URI; and a CANCEL is redirected nowhere.
func TestRedirectRefuses(t *testing.T) {
	balance(t, "-mode redirect", func(m *farm) {
		first := "sip:100@" + m.gw[0].Listen
		for _, c := range []struct {
			uri  string
			code int
		}{{first, 404}, {first, 302}, {first, 404}, {"tel:+100", 416}, {"urn:service:sos", 416}} {
			m.caller.Invite(m, c.uri).Expect(c.code)
		}
		route := func(r *sip.Request) { r.Add("Route", "<sip:203.0.113.9;lr>") }
		m.caller.Request(m, sip.CANCEL, m.number(), route).Expect(481)
		res := m.caller.Invite(m, m.number()+";maddr=203.0.113.9").Expect(302)
		require.NotContains(m, res.Get("Contact"), "maddr")
	})
}

func TestCommandLine(t *testing.T) {
	_, err := parse(strings.Fields("-mode clever -gateways a:b:c,x -pick best -runner thread -allow 1.2.3,4.5.6.7/24"))
	for _, want := range []string{`"clever"`, `"a:b:c"`, `"best"`, `"thread"`, `"1.2.3"`} {
		require.ErrorContains(t, err, want)
	}
	_, err = parse(nil)
	require.ErrorContains(t, err, "-gateways")
	_, err = parse([]string{"-gateways", "192.0.2.1", "more"})
	require.ErrorContains(t, err, "more")
	c, err := parse([]string{"-gateways", "192.0.2.1:5060,gw.example.com,[2001:db8::1]:5070", "-methods", "INVITE,OPTIONS"})
	require.NoError(t, err)
	require.Equal(t, []sip.Method{sip.INVITE, sip.OPTIONS}, c.methods)
	require.Equal(t, "roundrobin", c.pick)
	require.NoError(t, c.server(io.Discard).Check())
}
