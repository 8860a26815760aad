package siptest_test

import (
	"testing"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// A server that listens on all addresses of its host is the default of sipproxy.Server.
func TestWildcardListener(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		alice, bob := k.Phone("alice", "192.0.2.1"), k.Phone("bob", "192.0.2.2")
		h := k.Network.Host("192.0.2.101", "2001:db8::101")
		k.Server(t, &sipproxy.Server{
			Listen: []string{"udp:0.0.0.0:5060", "tcp:0.0.0.0:5060", "udp:[::]:5060", "tcp:[::]:5060"},
			Net:    h, Handler: recorded(to(&bob)),
		})
		alice.Proxy = "192.0.2.101:5060"
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		in.Bye()
		call.ExpectBye()

		six := k.Phone("six", "2001:db8::1")
		six.Proxy = "[2001:db8::101]:5060"
		call = six.Call(t, "sip:bob@example.com")
		in = bob.Incoming(t)
		in.ExpectAck()
		in.Info("text/plain", "between the families")
		call.Bye()
		in.ExpectRequest(sip.BYE)
	})
}
