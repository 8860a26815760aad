package nat_test

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

const domain = "example.com"

// A house is a registrar with phones behind NAT boxes.
type house struct {
	*siptest.Kit
	server *sipproxy.Server
	reg    *registrar.Registrar
	store  registrar.Store
}

var keys = [][]byte{[]byte("0123456789abcdef")}

var tokens = recordroute.Router{User: nat.User, Flow: nat.Flow, Params: nat.Params}

func newHouse(t *testing.T, k *siptest.Kit, chain ...sipproxy.Middleware) *house {
	return newHouseAt(t, k, "192.0.2.101:5060", chain...)
}

func newHouseAt(t *testing.T, k *siptest.Kit, at string, chain ...sipproxy.Middleware) *house {
	h := &house{Kit: k}
	store := new(registrar.Memory)
	h.store = store
	t.Cleanup(func() { _ = store.Close() })
	h.reg = &registrar.Registrar{Store: store, Domains: []string{domain}, Received: nat.Behind}
	h.server = k.Server(t, &sipproxy.Server{Listen: []string{"udp:" + at, "tcp:" + at}, Names: []string{domain}, Keys: keys, NonSIP: nat.STUN, Handler: sipproxy.Chain(chain).ThenFunc(
		func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.REGISTER {
				return h.reg.ServeSIP(ctx, r)
			}
			targets, res := h.reg.Lookup(ctx, r, r.URI)
			if res != nil {
				return res
			}
			return r.Forward(ctx, targets...)
		})})
	return h
}

// phone starts one behind a NAT box of its own.
func (h *house) phone(name, public string) *siptest.Phone {
	box := h.Network.NAT(siptest.NAT{Public: public, Timeout: time.Hour})
	p := h.PhoneAt(box.Host("10.0.0.7"), name)
	p.AOR = "sip:" + name + "@" + domain
	return p
}

func register(t *testing.T, p *siptest.Phone, edit ...func(*sip.Request)) *sip.Response {
	t.Helper()
	edit = append([]func(*sip.Request){func(r *sip.Request) {
		r.Set("To", "<"+p.AOR+">")
		r.Set("Contact", "<"+p.Contact()+">;expires=300")
	}}, edit...)
	return p.Request(t, sip.REGISTER, "sip:"+domain, edit...).Final()
}

// TestCallThroughNAT follows REQUIREMENTS 140 to 147: two phones with the same private address behind different boxes register, and one
// calls the other; requests run both ways within the call.
func TestCallThroughNAT(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
		res := register(t, alice)
		require.Equal(t, 200, res.Code)
		via, err := res.Via()
		require.NoError(t, err)
		received, _ := via.Params.Get("received")
		require.Equal(t, "198.51.100.1", received, "140")
		if rport, asked := via.Params.Get("rport"); asked && k.Proto == transport.UDP {
			require.NotEqual(t, "5060", rport)
		}
		require.Equal(t, 200, register(t, bob).Code)
		list, err := h.store.Lookup(context.Background(), "bob@"+domain)
		require.NoError(t, err)
		require.Equal(t, "198.51.100.2", list[0].Received.AddrPort.Addr().String(), "141")
		require.Equal(t, netip.MustParseAddrPort("192.0.2.101:5060"), list[0].Local.AddrPort, "141: the socket")

		call := alice.Call(t, "sip:bob@"+domain)
		in := bob.Incoming(t)
		invite := in.Invitation()
		require.Equal(t, "10.0.0.7", invite.URI.Host, "144: the Request-URI is the private contact")
		var routes []sip.URI
		for rr, err := range invite.RecordRoutes() {
			require.NoError(t, err)
			routes = append(routes, rr.URI)
		}
		require.Len(t, routes, 2, "a token for each side")
		for _, u := range routes {
			v, _ := u.Params.Get("nat")
			require.Equal(t, "yes", v, "146")
			require.NotEmpty(t, u.User)
		}
		_, remote, err := nat.ParseToken(h.server, routes[0].User)
		require.NoError(t, err)
		require.Equal(t, list[0].Received.AddrPort, remote.AddrPort, "the topmost is the callee's side")
		n, err := invite.MaxForwards()
		require.NoError(t, err)
		require.Equal(t, 69, n, "146")

		in.ExpectAck()
		call.Info("text/plain", "hello")
		in.ExpectRequest(sip.INFO)
		in.Info("text/plain", "hello yourself")
		call.ExpectRequest(sip.INFO)
		in.Reinvite()
		call.ExpectRequest(sip.INVITE)
		call.ExpectAck()
		in.Bye()
		call.ExpectBye()
	})
}

// TestAliases is 146 and 147: Contact aliases in Kamailio's form carry the call, without a token.
func TestAliases(t *testing.T) {
	for name, sign := range map[string]bool{"plain": false, "signed": true} {
		t.Run(name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				fix := &nat.Fix{Sign: sign}
				h := newHouse(t, k, fix.Middleware, recordroute.Router{Params: nat.Params}.Middleware)
				alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
				register(t, alice)
				register(t, bob)
				call := alice.Invite(t, "sip:bob@"+domain)
				res := call.Expect(180)
				if res.Code == 180 {
					res = call.Expect(200)
				}
				call.Ack()
				in := bob.Incoming(t)
				proto := strconv.Itoa(int(k.Proto))
				for contact, public := range map[string]string{in.Invitation().Get("Contact"): "198.51.100.1", res.Get("Contact"): "198.51.100.2"} {
					n, err := sip.ParseNameAddr(contact)
					require.NoError(t, err)
					alias, _ := n.URI.Params.Get("alias")
					require.True(t, strings.HasPrefix(alias, public+"~") && strings.HasSuffix(alias, "~"+proto), contact)
					require.True(t, strings.HasPrefix(string(n.URI.Params), ";alias="), contact)
					require.Equal(t, sign, n.URI.Params.Has("aliassig"))
				}
				in.ExpectAck()
				call.Info("text/plain", "hello")
				require.False(t, in.ExpectRequest(sip.INFO).URI.Params.Has("alias"), "147: removed")
				in.Info("text/plain", "hello yourself")
				require.False(t, call.ExpectRequest(sip.INFO).URI.Params.Has("alias"))
				in.Bye()
				call.ExpectBye()
				require.EqualValues(t, []uint64{4, 0, 0}, []uint64{fix.Stats().Followed, fix.Stats().Refused, fix.Stats().Gone})
			})
		})
	}
}

// TestForgedAlias: what a stranger writes is not followed into the server's own network.
func TestForgedAlias(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		fix := &nat.Fix{}
		screen := &nat.Screen{}
		h := newHouse(t, k, screen.Middleware, fix.Middleware, recordroute.Middleware)
		bob := h.phone("bob", "198.51.100.2")
		register(t, bob)
		mallory := k.Phone("mallory", "203.0.113.66")
		for _, alias := range []string{"127.0.0.1~22~1", "10.0.0.1~5060~1", "192.0.2.101~5060~1", "224.0.1.75~5060~1", "255.255.255.255~5060~1",
			"0.0.0.0~5060~1", "[fd00::1]~5060~1", "[::1]~5060~1"} {
			call := mallory.Call(t, "sip:bob@"+domain, func(r *sip.Request) {
				r.Set("Contact", "<sip:mallory@203.0.113.66:5060;alias="+alias+";transport="+k.Proto.String()+">")
			})
			in := bob.Incoming(t)
			in.ExpectAck()
			require.Equal(t, 403, in.Start(sip.INFO).Final().Code, alias)
			call.Bye()
			in.ExpectBye()
		}
		require.EqualValues(t, 8, fix.Stats().Refused)
		// The same through Contact itself.
		mallory.Lenient = true // its Contact is not where it listens
		for _, host := range []string{"10.0.0.1", "127.0.0.1:22", "192.168.7.1"} {
			call := mallory.Call(t, "sip:bob@"+domain, func(r *sip.Request) { r.Set("Contact", "<sip:mallory@"+host+">") })
			in := bob.Incoming(t)
			in.ExpectAck()
			fixed := fix.Stats().Added
			require.NotZero(t, fixed)
			code := in.Start(sip.INFO).Final().Code
			if strings.HasPrefix(host, "127") {
				require.Equal(t, 403, code, host)
			} else {
				require.Equal(t, 200, code, "a private Contact got an alias to where mallory is")
				call.ExpectRequest(sip.INFO)
			}
			call.Bye()
			in.ExpectBye()
		}
		require.Equal(t, 403, register(t, mallory, func(r *sip.Request) { r.Set("Contact", "<sip:x@127.0.0.1>") }).Code)
		require.Equal(t, 403, register(t, mallory, func(r *sip.Request) { r.Set("Contact", "<sip:x@192.0.2.101:5060>") }).Code)
	})
}
