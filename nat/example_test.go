package nat_test

import (
	"context"
	"fmt"
	"iter"
	"net/netip"

	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sipproxy"
)

// The links of a chain that brings phones behind NAT into calls.
func Example() {
	screen := &nat.Screen{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}} // the gateways
	router := recordroute.Router{User: nat.User, Flow: nat.Flow, Params: nat.Params}
	chain := sipproxy.Chain{nat.Keep, screen.Middleware, router.Middleware}
	fmt.Println(len(chain), "links; behind a NAT is:", nat.Usual)
	// Output: 3 links; behind a NAT is: contact private, via not source, source port, websocket
}

// Beside a Kamailio node that reads and writes Contact aliases.
func ExampleFix() {
	fix := &nat.Fix{When: nat.When(nat.ContactPrivate | nat.ViaSource)}
	chain := sipproxy.Chain{fix.Middleware, recordroute.Middleware}
	fmt.Println(len(chain), "links")
	// Output: 2 links
}

// Bindings that stop answering are removed.
func ExamplePinger() {
	store := new(registrar.Memory)
	p := &nat.Pinger{
		Contacts: func(ctx context.Context) iter.Seq[nat.Contact] {
			return func(yield func(nat.Contact) bool) {
				for aor, list := range store.Scan(ctx) {
					for _, b := range list {
						if b.RegID == 0 && !b.Received.IsZero() && !yield(nat.Contact{ID: string(aor) + " " + b.Contact.String(),
							URI: b.Contact, Local: b.Local, Remote: b.Received}) {
							return
						}
					}
				}
			}
		},
		Gone: func(_ context.Context, c nat.Contact) { fmt.Println(c.ID, "has left") },
	}
	fmt.Println(p.Stats().Sent)
	// Output: 0
}
