package middleware_test

import (
	"fmt"
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/middleware"
)

func ExampleAllowFrom() {
	chain := sipproxy.Chain{
		middleware.Sanity{}.Middleware,
		middleware.Only(sip.INVITE),
		middleware.AllowFrom(netip.MustParsePrefix("198.51.100.0/24")),
	}
	handler := chain.ThenFunc(toBob)
	server := sipproxy.Server{Handler: handler}
	fmt.Println(server.Check())
	// Output: <nil>
}

func ExampleParsePrefixes() {
	list, err := middleware.ParsePrefixes("3.4.5.6/24,198.51.100.7")
	set := middleware.NewPrefixes(list...)
	fmt.Println(err, set.Contains(netip.MustParseAddr("3.4.5.200")), set.Contains(netip.MustParseAddr("198.51.100.8")))
	// Output: <nil> true false
}
