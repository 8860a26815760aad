package rtprelay

import (
	"net/netip"
	"time"
)

// RTPProxyOptions are the modifiers that only an RTPProxy knows. The zero value sends none of them.
type RTPProxyOptions struct {
	Local   netip.Addr    // l: local address to use
	Label   string        // l{label}: labelled listener (20260306)
	RouteTo netip.Addr    // r: the local address that routes to this one
	NewPort bool          // n: allocate a new port for a session that exists (20150330)
	Weak    bool          // w: the session is shared with another proxy; Delete then needs Weak as well, see RTPProxy.DeleteWeak
	TTL     time.Duration // && S ttl=: seconds without packets that end the session (20251015)
	TOS     int           // && S tos=: 1 to 255 (20251015); 0: the relay's
	TOSBack int           // && Sr tos=: of the other direction
	Modules []string      // && M each: "module:instance ...", both numbers as the relay's configuration has them (20191015)
}
