package registrar_test

import (
	"context"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// home is a registrar with a proxy for its users.
func home(k *siptest.Kit, t *testing.T, g *registrar.Registrar) *sipproxy.Server {
	return k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(
		func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.REGISTER {
				return g.ServeSIP(ctx, r)
			}
			targets, res := g.Lookup(ctx, r, r.URI)
			if res != nil {
				return res
			}
			return r.ForwardInTurn(ctx, targets...)
		})})
}

// register sends a REGISTER with these fields and expects a code.
func register(t *testing.T, p *siptest.Phone, code int, fields ...string) *sip.Response {
	t.Helper()
	tr := p.Request(t, sip.REGISTER, "sip:example.com", func(r *sip.Request) {
		r.Set("To", "<sip:"+p.Name+"@example.com>")
		r.Del("Contact")
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == "Contact" {
				r.Add(fields[i], fields[i+1])
				continue
			}
			r.Set(fields[i], fields[i+1])
		}
	})
	return tr.Expect(code)
}

func TestRegisterAndCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Invite(t, "sip:bob@example.com").Expect(404)
		res := register(t, bob, 200, "Contact", "<"+bob.Contact()+">;expires=120;methods=\"INVITE,ACK,BYE,CANCEL\"")
		require.Contains(t, res.Get("Contact"), "expires=120")
		require.True(t, res.Has("Date"))
		bob.Answer()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		bob.Incoming(t).ExpectAck()
		call.Bye()
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(405)
		time.Sleep(121 * time.Second)
		alice.Invite(t, "sip:bob@example.com").Expect(404)
	})
}

func TestRegisterRefusals(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 2})
		bob := k.Phone("bob", "192.0.2.20")
		require.Equal(t, "60", register(t, bob, 423, "Contact", "<sip:bob@192.0.2.20>;expires=5").Get("Min-Expires"))
		register(t, bob, 400, "Contact", "*")
		register(t, bob, 400, "Contact", "*", "Contact", "<sip:bob@192.0.2.20>", "Expires", "0")
		register(t, bob, 404, "To", "<sip:bob@elsewhere.example>", "Contact", "<sip:bob@192.0.2.20>")
		register(t, bob, 420, "Require", "nothing", "Contact", "<sip:bob@192.0.2.20>")
		register(t, bob, 200, "Call-ID", "one", "CSeq", "5 REGISTER", "Contact", "<sip:bob@192.0.2.20>", "Contact", "<sip:bob@192.0.2.21>;q=0.5")
		register(t, bob, 403, "Contact", "<sip:bob@192.0.2.22>")
		register(t, bob, 400, "Call-ID", "one", "CSeq", "5 REGISTER", "Contact", "<sip:bob@192.0.2.20>;expires=0")
		list, err := store.Lookup(context.Background(), "bob@example.com")
		require.NoError(t, err)
		require.Len(t, list, 2)
		register(t, bob, 200, "Call-ID", "one", "CSeq", "6 REGISTER", "Contact", "*", "Expires", "0")
		list, err = store.Lookup(context.Background(), "bob@example.com")
		require.NoError(t, err)
		require.Empty(t, list)
	})
}
