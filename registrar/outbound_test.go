package registrar_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

const (
	instance = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\""
	flow1    = instance + ";reg-id=1"
	flow2    = instance + ";reg-id=2"
	outbound = "\nSupported: path, outbound"
)

// through adds what a proxy between phone and registrar adds.
const through = "\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKphone"

func list(t testing.TB, s registrar.Store, aor registrar.AOR) []registrar.Binding {
	t.Helper()
	l, err := s.Lookup(context.Background(), aor)
	require.NoError(t, err)
	return l
}

func TestPath(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"},
			ServiceRoute: []sip.URI{sip.MustParseURI("sip:orig@192.0.2.101;lr"), sip.MustParseURI("sip:192.0.2.102;lr")}})
		edge, alice := k.Phone("edge", "192.0.2.30"), k.Phone("alice", "192.0.2.10")
		edge.Lenient = true // it stands for a proxy
		res := send(t, edge, "bob", "Contact: <sip:bob@10.0.0.5>\nSupported: path\nPath: <sip:192.0.2.30;lr>, <sip:203.0.113.7;lr;ob>\nPath: <sip:203.0.113.8;lr>"+through).Expect(200)
		var path, service []string
		for p := range res.Values("Path") {
			path = append(path, p)
		}
		for p := range res.Values("Service-Route") {
			service = append(service, p)
		}
		require.Equal(t, []string{"<sip:192.0.2.30;lr>", "<sip:203.0.113.7;lr;ob>", "<sip:203.0.113.8;lr>"}, path)
		require.Equal(t, []string{"<sip:orig@192.0.2.101;lr>", "<sip:192.0.2.102;lr>"}, service)
		have := list(t, store, "bob@example.com")
		require.Equal(t, path, have[0].Path)
		require.True(t, have[0].Received.IsZero(), "where the phone is, not the edge")

		alice.Invite(t, "sip:bob@example.com").Expect(180)
		invite := edge.Incoming(t).Invitation()
		require.Equal(t, "sip:bob@10.0.0.5", invite.URI.String())
		var routes []string
		for p := range invite.Values("Route") {
			routes = append(routes, p)
		}
		require.Equal(t, path, routes)
		send(t, edge, "bob", "Contact: <sip:bob@10.0.0.6>\nPath: <sip:[::1;lr>"+through).Expect(400)
		send(t, edge, "bob", "Contact: <sip:bob@10.0.0.6>\nPath: <tel:+1>"+through).Expect(400)
		require.Len(t, list(t, store, "bob@example.com"), 1)
		require.False(t, send(t, edge, "bob", "").Expect(200).Has("Path"))
	})
}

func TestPathOfAStranger(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"},
			TrustPath: func(r *sipproxy.Request) bool { return r.Source.AddrPort.Addr().String() == "192.0.2.30" }})
		edge, stranger := k.Phone("edge", "192.0.2.30"), k.Phone("mallory", "192.0.2.66")
		send(t, stranger, "bob", a+"\nPath: <sip:127.0.0.1;lr>").Expect(403)
		require.Empty(t, list(t, store, "bob@example.com"))
		send(t, edge, "bob", a+"\nPath: <sip:192.0.2.30;lr>").Expect(200)
		send(t, stranger, "bob", b).Expect(200)
	})
}

// TestOutbound is RFC 5626 §6 at the registrar.
func TestOutbound(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, FlowTimer: 90 * time.Second})
		p := k.Phone("bob", "192.0.2.20")
		p.Lenient = true
		res := send(t, p, "bob", a+flow1+outbound).Expect(200)
		require.True(t, res.HasToken("Require", "outbound"))
		require.Equal(t, "90", res.Get("Flow-Timer"))
		have := list(t, store, "bob@example.com")
		require.Equal(t, p.Addr().Addr(), have[0].Received.AddrPort.Addr())
		require.Equal(t, "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>", have[0].Instance)

		// From another flow with another contact: the same registration.
		send(t, p, "bob", b+flow1+outbound).Expect(200)
		require.Equal(t, "sip:u@192.0.2.2=3600", bindings(t, store, "bob@example.com"))
		send(t, p, "bob", b+flow2+outbound).Expect(200)
		require.Equal(t, "sip:u@192.0.2.2=3600 sip:u@192.0.2.2=3600", bindings(t, store, "bob@example.com"))
		// Without reg-id the URI counts, and stands for both.
		require.Equal(t, "sip:u@192.0.2.2=100", answered(t, send(t, p, "bob", b+";expires=100").Expect(200)))
		require.Equal(t, "sip:u@192.0.2.2=100", bindings(t, store, "bob@example.com"))
		send(t, p, "bob", b+flow2+outbound).Expect(200)
		require.Equal(t, "sip:u@192.0.2.2=3600", bindings(t, store, "bob@example.com"))
		send(t, p, "bob", c+flow2+";expires=0"+outbound).Expect(200)
		require.Empty(t, list(t, store, "bob@example.com"))

		// A phone that does not support it, or no instance: a plain contact.
		require.False(t, send(t, p, "bob", a+flow1).Expect(200).Has("Require"))
		send(t, p, "bob", b+";reg-id=1"+outbound).Expect(200)
		for _, x := range list(t, store, "bob@example.com") {
			require.Zero(t, x.RegID)
		}
		send(t, p, "bob", a+instance+";reg-id=0"+outbound).Expect(400)
		send(t, p, "bob", a+instance+";reg-id=one"+outbound).Expect(400)
		send(t, p, "bob", a+instance+";reg-id=2147483648"+outbound).Expect(400)
		send(t, p, "bob", a+flow1+"\n"+b+outbound).Expect(400)
		send(t, p, "bob", a+flow1+"\n"+b+";expires=0"+outbound).Expect(200)

		// Through proxies: the first has to take part.
		send(t, p, "ann", a+flow1+outbound+through).Expect(439)
		send(t, p, "ann", a+flow1+outbound+through+"\nPath: <sip:192.0.2.9;lr>").Expect(439)
		send(t, p, "ann", a+flow1+outbound+through+"\nPath: <sip:192.0.2.8;lr;ob>, <sip:192.0.2.9;lr>").Expect(439)
		require.Empty(t, list(t, store, "ann@example.com"))
		send(t, p, "ann", a+flow1+outbound+through+"\nPath: <sip:192.0.2.8;lr>, <sip:192.0.2.9;lr;ob>").Expect(200)
		require.True(t, list(t, store, "ann@example.com")[0].Received.IsZero())
	})
}

// TestGRUUScheme: the Contact decides whether sip or sips GRUUs are given out, not To (RFC 5630 §5.2.1).
func TestGRUUScheme(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, GRUU: true})
		p := k.Phone("bob", "192.0.2.20")
		for _, scheme := range []string{"sip", "sips"} {
			for _, to := range []string{"", "\nTo: <sips:bob@example.com>"} {
				public, temporary := gruus(t, send(t, p, "bob", "Contact: <"+scheme+":bob@192.0.2.41>"+instance+"\nSupported: gruu"+to).Expect(200))
				require.Equal(t, scheme, public.Scheme)
				require.Equal(t, scheme, temporary.Scheme)
			}
			send(t, p, "bob", "Contact: *\nExpires: 0").Expect(200)
		}
		gruus(t, send(t, p, "bob", a+instance+"\nRequire: gruu").Expect(200)) // who requires it supports it (RFC 3261 §8.2.2.3)
	})
}

// TestLookupTargets: q orders, flows of one phone are one target, newest first.
func TestLookupTargets(t *testing.T) {
	siptest.Suite{Runners: []sipproxy.RunnerMode{sipproxy.Coroutines}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		var targets []sipproxy.Target
		k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.REGISTER {
				return g.ServeSIP(ctx, r)
			}
			var res *sip.Response
			if targets, res = g.Lookup(ctx, r, r.URI); res != nil {
				return res
			}
			return r.Reply(200)
		})})
		p := k.Phone("bob", "192.0.2.20")
		p.Lenient = true
		path := "\nPath: <sip:192.0.2.8;lr;ob>" + through
		send(t, p, "bob", "Contact: <sip:soft@192.0.2.40>;q=0.5").Expect(200)
		time.Sleep(time.Second)
		send(t, p, "bob", "Contact: <sip:one@10.0.0.1>"+flow1+";methods=\"INVITE, MESSAGE\""+outbound+path).Expect(200)
		time.Sleep(time.Second)
		send(t, p, "bob", "Contact: <sip:two@10.0.0.1>"+flow2+outbound+path).Expect(200)
		send(t, p, "bob", "Contact: <mailto:bob@example.com>;q=0.1, <sips:bob@192.0.2.41>;q=0.2, <sip:odd@192.0.2.42?Subject=x>;q=0.3").Expect(200)
		uris := func(l []sipproxy.Target) (s []string) {
			for _, x := range l {
				s = append(s, fmt.Sprint(x.URI, " ", x.Q))
			}
			return s
		}
		p.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		require.ElementsMatch(t, []string{"sip:two@10.0.0.1 1", "sip:soft@192.0.2.40 0.5", "sips:bob@192.0.2.41 0.2", "sip:odd@192.0.2.42 0.3"}, uris(targets))
		for _, x := range targets {
			if x.URI.User == "two" {
				require.Equal(t, []string{"sip:one@10.0.0.1 1"}, uris(x.Else))
				require.Equal(t, "sip:192.0.2.8;lr;ob", x.Path[0].String())
			}
		}
		p.Request(t, sip.OPTIONS, "sip:bob@example.com").Expect(200) // one does not take it
		for _, x := range targets {
			require.Empty(t, x.Else)
		}
		secure := sip.MustParseURI("sips:bob@example.com") // §26.2.2
		p.Request(t, sip.MESSAGE, "sip:bob@example.com", func(r *sip.Request) { r.SetURI(secure) }).Expect(200)
		require.Equal(t, []string{"sips:bob@192.0.2.41 0.2"}, uris(targets))
		p.Request(t, sip.MESSAGE, "sip:nobody@example.com").Expect(404)
		p.Request(t, sip.MESSAGE, "sip:bob@elsewhere.example").Expect(404)
		send(t, p, "both", "Contact: <sip:both@10.0.0.3>;q=0.5"+instance).Expect(200)
		time.Sleep(time.Second)
		send(t, p, "both", "Contact: <sip:both@10.0.0.4>;q=0.1"+instance).Expect(200)
		p.Request(t, sip.MESSAGE, "sip:both@example.com").Expect(200)
		require.Equal(t, []string{"sip:both@10.0.0.3 0.5"}, uris(targets), "q says more than the time does")
		require.Equal(t, []string{"sip:both@10.0.0.4 0.1"}, uris(targets[0].Else))
		send(t, p, "mail", "Contact: <mailto:bob@example.com>").Expect(200)
		p.Request(t, sip.MESSAGE, "sip:mail@example.com").Expect(480)
		send(t, p, "plain", "Contact: <sip:plain@192.0.2.43>").Expect(200)
		res := p.Request(t, sip.MESSAGE, "sip:plain@example.com", func(r *sip.Request) { r.SetURI(sip.MustParseURI("sips:plain@example.com")) }).Expect(480)
		require.Equal(t, `380 sipkit "SIPS Not Allowed"`, res.Get("Warning"))
		require.EqualValues(t, 8, g.Stats().Lookups)
		require.EqualValues(t, 2, g.Stats().NotFound)
	})
}

// TestAckForNobody: a stray ACK is not sent on, for Forward without targets would send it to ourselves.
func TestAckForNobody(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		s := home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		p := k.Phone("mallory", "192.0.2.66")
		p.Raw()
		p.Send("ACK sip:nobody@192.0.2.101 SIP/2.0\nVia: SIP/2.0/" + k.Proto.String() + " 192.0.2.66;branch=z9hG4bK1\nMax-Forwards: 70\n" +
			"From: <sip:m@example.com>;tag=1\nTo: <sip:nobody@example.com>\nCall-ID: 1\nCSeq: 1 ACK\nContent-Length: 0\n\n")
		p.Silence(time.Minute)
		require.EqualValues(t, 1, s.Stats().Stateless, "more: it came back to us")
	})
}

// TestFlowIsGone: a connection that a phone registered over and lost is not a way to it; the next flow of the phone is.
func TestFlowIsGone(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		send(t, bob, "bob", "Contact: <sip:bob@10.0.0.5;transport=tcp>"+flow1+outbound).Expect(200)
		bob.Answer()
		alice.Call(t, "sip:bob@example.com").Bye()
		bob.Hangup()
		time.Sleep(time.Second)
		alice.Invite(t, "sip:bob@example.com").Expect(480)
		send(t, bob, "bob", "Contact: <sip:bob@10.0.0.5;transport=tcp>"+flow2+outbound).Expect(200)
		alice.Call(t, "sip:bob@example.com").Bye()
		send(t, bob, "bob", "Contact: <sip:bob@10.0.0.5;transport=tcp>"+flow1+outbound).Expect(200)
		require.Len(t, list(t, store, "bob@example.com"), 2)
	})
}

// TestFlowFailsOver: 430 from the edge of the newer flow leads to the older one (RFC 5626 §5.3).
func TestFlowFailsOver(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		alice, edge1, edge2 := k.Phone("alice", "192.0.2.10"), k.Phone("edge1", "192.0.2.31"), k.Phone("edge2", "192.0.2.32")
		edge1.Lenient, edge2.Lenient = true, true
		send(t, edge1, "bob", "Contact: <sip:bob@10.0.0.5>"+flow1+outbound+through+"\nPath: <sip:192.0.2.31;lr;ob>").Expect(200)
		time.Sleep(time.Second)
		send(t, edge2, "bob", "Contact: <sip:bob@10.0.0.5>"+flow2+outbound+through+"\nPath: <sip:192.0.2.32;lr;ob>").Expect(200)
		edge2.Refuse(430)
		edge1.Answer()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		require.Equal(t, "sip:bob@10.0.0.5", edge2.Incoming(t).Invitation().URI.String())
		edge1.Incoming(t).ExpectAck()
		call.Bye()
	})
}

// TestFlowGivesItsWord: but for 408 and 430, what comes back over one flow of a phone is its answer, which another flow is not asked for (RFC 5626 §7).
func TestFlowGivesItsWord(t *testing.T) {
	for _, through := range []string{"", through + "\nPath: <sip:%s;lr;ob>"} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			store := new(registrar.Memory)
			defer store.Close()
			home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
			alice, older, newer := k.Phone("alice", "192.0.2.10"), k.Phone("older", "192.0.2.31"), k.Phone("newer", "192.0.2.32")
			for i, p := range []*siptest.Phone{older, newer} {
				p.Lenient = true
				send(t, p, "bob", "Contact: <sip:bob@10.0.0.5>"+instance+fmt.Sprint(";reg-id=", i+1)+outbound+strings.ReplaceAll(through, "%s", p.Addr().Addr().String())).Expect(200)
				time.Sleep(time.Second)
			}
			for code, seen := range map[int]int{503: 500, 500: 500, 486: 486} { // upstream a 503 is 500 (RFC 3261 §16.7 step 6)
				newer.Refuse(code)
				alice.Invite(t, "sip:bob@example.com").Expect(seen)
				newer.Incoming(t)
				older.NoCall(t, time.Second)
			}
		})
	}
}

// TestOnePhoneIsCalledOnce: however many contacts of an instance there are, with flows or without, and whichever of them are gone, one is called at a time (RFC 5626 §7).
func TestOnePhoneIsCalledOnce(t *testing.T) {
	for _, flow := range []string{instance + ";reg-id=%d" + outbound, instance} {
		siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
			store := new(registrar.Memory)
			defer store.Close()
			home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
			alice := k.Phone("alice", "192.0.2.10")
			var phones []*siptest.Phone
			for i := range 3 {
				p := k.Phone(fmt.Sprint("phone", i), fmt.Sprint("192.0.2.3", i))
				p.Lenient = true
				send(t, p, "bob", fmt.Sprintf("Contact: <sip:bob@10.0.0.%d;transport=tcp>", i)+strings.ReplaceAll(flow, "%d", fmt.Sprint(i+1))).Expect(200)
				time.Sleep(time.Second)
				phones = append(phones, p)
			}
			phones[1].Hangup()
			time.Sleep(time.Second)
			phones[2].Refuse(486)
			alice.Invite(t, "sip:bob@example.com").Expect(486)
			phones[2].Incoming(t)
			phones[0].NoCall(t, time.Second)
			phones[2].Hangup()
			time.Sleep(time.Second)
			phones[0].Answer()
			alice.Call(t, "sip:bob@example.com").Bye()
		})
	}
}

// TestRoomForTheNextConnection: contacts whose connection is gone do not lock out their phone, nor do they make room for more than it needs. Those of other nodes stay.
func TestRoomForTheNextConnection(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 3})
		other := home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 3})
		p := k.Phone("bob", "192.0.2.20")
		p.Lenient = true
		next := func(i int) *sip.Response {
			time.Sleep(time.Second)
			return send(t, p, "bob", fmt.Sprintf("Contact: <sip:bob@10.0.0.1:%d>", i)).Final()
		}
		for i := range 3 {
			require.Equal(t, 200, next(i+1).Code)
		}
		require.Equal(t, 403, next(4).Code, "all of them are there")
		p.Hangup()
		if k.Proto == transport.UDP {
			require.Equal(t, 403, next(4).Code)
			return
		}
		require.Equal(t, 200, next(4).Code)
		require.Equal(t, "sip:bob@10.0.0.1:2=3597 sip:bob@10.0.0.1:3=3598 sip:bob@10.0.0.1:4=3600", bindings(t, store, "bob@example.com"))
		p.Hangup()
		p.Proxy = other.Addrs()[0].AddrPort.String()
		require.Equal(t, 403, next(5).Code)
	})
}

func TestRedirect(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.REGISTER {
				return g.ServeSIP(ctx, r)
			}
			return g.Redirect(ctx, r)
		})})
		p := k.Phone("bob", "192.0.2.20")
		send(t, p, "bob", a+";q=0.2, <sip:u@192.0.2.2;transport=tcp>, <mailto:u@example.com>;q=0.25").Expect(200)
		res := p.Invite(t, "sip:bob@example.com").Expect(302)
		var got []string
		for v := range res.Values("Contact") {
			got = append(got, v)
		}
		require.Equal(t, []string{"<sip:u@192.0.2.2;transport=tcp>;q=1", "<mailto:u@example.com>;q=0.25", "<sip:u@192.0.2.1>;q=0.2"}, got)
		p.Invite(t, "sip:nobody@example.com").Expect(404)
	})
}

// gruus takes the GRUUs of the first Contact of a 200.
func gruus(t testing.TB, res *sip.Response) (public, temporary sip.URI) {
	t.Helper()
	for c, err := range res.Contacts() {
		require.NoError(t, err)
		for name, u := range map[string]*sip.URI{"pub-gruu": &public, "temp-gruu": &temporary} {
			v, ok := c.Params.Get(name)
			require.True(t, ok, "%s in %s", name, res)
			require.Equal(t, `"`, v[:1])
			*u, err = sip.ParseURI(v[1 : len(v)-1])
			require.NoError(t, err)
		}
		break
	}
	return public, temporary
}

// TestGRUU is RFC 5627: two phones of one user, told apart by their GRUUs, on every node with the keys and after a restart of all.
func TestGRUU(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}, GRUU: true}
		node := func(keys ...string) *sipproxy.Server {
			s := &sipproxy.Server{Names: []string{"example.com"}, Handler: sipproxy.Chain{recordroute.Router{Local: toGRUU{g}}.Middleware}.ThenFunc(
				func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					if r.Method == sip.REGISTER {
						return g.ServeSIP(ctx, r)
					}
					return toGRUU{g}.ServeSIP(ctx, r)
				})}
			for _, key := range keys {
				s.Keys = append(s.Keys, []byte(key))
			}
			return k.Server(t, s)
		}
		node("an older secret of 32 bytes ....")
		other := node("a newer secret of 32 bytes ....", "an older secret of 32 bytes ....")
		stranger := node("a secret of somebody else ......")
		desk, cell, alice := k.Phone("desk", "192.0.2.20"), k.Phone("cell", "192.0.2.21"), k.Phone("alice", "192.0.2.10")
		gruu := "\nSupported: gruu\nUser-Agent: x"
		user := "a%00b;x"
		res := send(t, desk, user, "Contact: <"+desk.Contact()+">;+sip.instance=\"<urn:x:DESK;1>\";pub-gruu=\"sip:forged@example.com;gr=1\""+gruu+"\nCall-ID: 1").Expect(200)
		public, temporary := gruus(t, res)
		require.Equal(t, "sip:a%00b;x@example.com;gr=urn:x:DESK%3B1", public.String())
		require.NotContains(t, temporary.String(), "a%00b")
		require.NotContains(t, temporary.String(), "DESK")
		require.True(t, registrar.IsGRUU(temporary))
		send(t, cell, user, "Contact: <"+cell.Contact()+">;+sip.instance=\"<urn:x:cell>\""+gruu+"\nCall-ID: 2").Expect(200)
		for _, proxy := range []string{"192.0.2.101:5060", other.Addrs()[0].AddrPort.String()} {
			alice.Proxy = proxy
			for _, u := range []sip.URI{public, temporary} {
				call := alice.Call(t, u.String())
				in := desk.Incoming(t)
				in.ExpectAck()
				require.Equal(t, desk.Contact(), in.Invitation().URI.String())
				call.Bye()
				cell.NoCall(t, time.Second)
			}
		}
		// A GRUU as the Contact of the other side: what the peer sends in the dialog comes to us for it.
		alice.Proxy = "192.0.2.101:5060"
		bob := desk
		bob.EditResponse = func(r *sip.Response) {
			if r.Has("Contact") {
				r.Set("Contact", "<"+temporary.String()+">")
			}
		}
		call := alice.Call(t, public.String())
		bob.Incoming(t).ExpectAck()
		call.Info("text/plain", "x")
		call.Bye()
		bob.EditResponse = nil

		// Forged, cut, of other keys, of nobody.
		forged := temporary
		forged.User = temporary.User[:len(temporary.User)-1] + "A"
		if forged.User == temporary.User {
			forged.User = temporary.User[:len(temporary.User)-1] + "Q"
		}
		for _, u := range []string{forged.String(), "sip:tgruu.@example.com;gr", "sip:tgruu.AAAA@example.com;gr", "sip:a%00b;x@example.com;gr", "sip:x@elsewhere.example;gr=1"} {
			alice.Invite(t, u).Expect(404)
		}
		alice.Invite(t, "sip:a%00b;x@example.com;gr=urn:x:nobody").Expect(480)
		alice.Proxy = stranger.Addrs()[0].AddrPort.String()
		alice.Invite(t, temporary.String()).Expect(404)
		alice.Proxy = "192.0.2.101:5060"

		// Registered anew by another Call-ID: the temporary one has ended, the public one lives on (§5.4).
		_, second := gruus(t, send(t, desk, user, "Contact: <"+desk.Contact()+">;+sip.instance=\"<urn:x:DESK;1>\""+gruu+"\nCall-ID: 3").Expect(200))
		require.NotEqual(t, second.User, temporary.User)
		alice.Invite(t, temporary.String()).Expect(480)
		alice.Call(t, public.String()).Bye()
		alice.Call(t, second.String()).Bye()
		// None for who does not ask.
		require.NotContains(t, send(t, desk, "c", "Contact: <"+desk.Contact()+">;+sip.instance=\"<urn:x:1>\"").Expect(200).Get("Contact"), "gruu")
	})
}

// toGRUU forwards to where the Request-URI's user is.
type toGRUU struct{ g *registrar.Registrar }

func (h toGRUU) ServeSIP(ctx context.Context, r *sipproxy.Request) *sip.Response {
	targets, res := h.g.Lookup(ctx, r, r.URI)
	if res != nil {
		return res
	}
	return r.ForwardInTurn(ctx, targets...)
}
