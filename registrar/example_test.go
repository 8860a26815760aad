package registrar_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
)

func ExampleAliases() {
	aliases := registrar.Aliases{
		"info@example.com":  sip.MustParseURI("sip:sales@example.com"),
		"sales@example.com": sip.MustParseURI("sip:jan@example.com"),
	}
	u, found := aliases.Resolve(sip.MustParseURI("sip:info@example.com"))
	fmt.Println(u, found)
	// Output: sip:jan@example.com true
}

func ExampleSpeedDials() {
	dials := registrar.SpeedDials{"jan@example.com": {"12": sip.MustParseURI("sip:ann@example.com")}}
	u, found := dials.Resolve("jan@example.com", sip.MustParseURI("sip:12@example.com"))
	fmt.Println(u, found)
	// Output: sip:ann@example.com true
}

// Bindings may be made without a REGISTER: for gateways, or in tests.
func ExampleMemory() {
	ctx := context.Background()
	store := new(registrar.Memory)
	defer store.Close()
	gateway := registrar.Binding{Contact: sip.MustParseURI("sip:gw@192.0.2.1"), Q: 1, Expires: time.Now().Add(24 * time.Hour)}
	err := store.Update(ctx, "gw@example.com", func([]registrar.Binding) ([]registrar.Binding, error) {
		return []registrar.Binding{gateway}, nil
	})
	if err != nil {
		fmt.Println(err)
	}
	list, err := store.Lookup(ctx, "gw@example.com")
	fmt.Println(list[0].Contact, err)
	// Output: sip:gw@192.0.2.1 <nil>
}
