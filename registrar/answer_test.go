package registrar_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// The 200 says of a contact what is stored, in one spelling, however its REGISTER spelled it (§10.3 step 8).
func TestContactOfAnswer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		bob := k.Phone("bob", "192.0.2.20")
		for _, x := range []struct{ contact, want string }{
			{contact: "<sip:bob@192.0.2.20>;expires=120"},
			{contact: "<sip:bob@192.0.2.20:5070;transport=tcp>;expires=120"},
			{contact: "<sip:192.0.2.20>;expires=120"},
			{contact: "<sip:bob:word@192.0.2.20>;expires=120"},
			{contact: "<sip:bob@192.0.2.20?a=b>;expires=120"},
			{contact: "<SIP:bob@192.0.2.20>;expires=120"},
			{contact: "<tel:+15551234>;expires=120"},
			{"<sip:bob:@192.0.2.20>;expires=120", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20:05070>;expires=120", "<sip:bob@192.0.2.20:5070>;expires=120"},
			{"sip:bob@192.0.2.20;expires=120", "<sip:bob@192.0.2.20>;expires=120"},
			{"sip:bob@192.0.2.20:005070;expires=120", "<sip:bob@192.0.2.20:5070>;expires=120"},
			{"Bob <sip:bob@192.0.2.20>;expires=120", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20> ;expires=120", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20>;expires=120,", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20>;expires=0120", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20>;EXPIRES=120", "<sip:bob@192.0.2.20>;expires=120"},
			{"<sip:bob@192.0.2.20>;expires=999999", "<sip:bob@192.0.2.20>;expires=86400"},
			{"<sip:bob@192.0.2.20>;q=0.5;expires=120", "<sip:bob@192.0.2.20>;q=0.5;expires=120"},
			{"<sip:bob@192.0.2.20>", "<sip:bob@192.0.2.20>;expires=3600"},
		} {
			if x.want == "" {
				x.want = x.contact
			}
			for range 2 { // stored, and refreshed
				res := register(t, bob, 200, "Contact", x.contact)
				require.Equal(t, x.want, res.Get("Contact"), x.contact)
			}
			register(t, bob, 200, "Contact", "*", "Expires", "0")
		}
		register(t, bob, 200, "Contact", "<sip:bob@192.0.2.20>;expires=120")
		res := register(t, bob, 200, "Contact", "<sip:bob@192.0.2.21>;expires=120")
		require.Len(t, slices.Collect(res.Values("Contact")), 2)
	})
}
