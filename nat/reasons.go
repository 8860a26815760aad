package nat

import "strings"

// Reasons say why a peer seems to be behind a NAT: the bits of Kamailio's nat_uac_test, by name. Private are the networks of RFC 1918 and
// RFC 6598, 192.0.0.0/24, and unlike there IPv6 unique local and link-local addresses (RFC 4193, RFC 4291) and 169.254.0.0/16.
type Reasons uint16

// The reasons.
const (
	ContactPrivate Reasons = 1 << iota // 1: the host of Contact is a private address
	ViaSource                          // 2: the host of the topmost Via is not the source address
	ViaPrivate                         // 4: the host of the topmost Via is a private address
	SDPPrivate                         // 8: a media address in SDP is private
	SourcePort                         // 16: the port of the topmost Via is not the source port
	SourcePrivate                      // 32: the source is a private address
	WebSocket                          // 64: it came over WS or WSS
	ContactPort                        // 128: the port of Contact is not the source port
	SDPSource                          // 256: the session's address in SDP is not the source address
	Destination                        // 512: it goes to another address than its Request-URI names (Callee)

	// Usual are those that Behind looks at.
	Usual = ContactPrivate | ViaSource | SourcePort | WebSocket
)

var reasonNames = [...]string{"contact private", "via not source", "via private", "sdp private", "source port", "source private",
	"websocket", "contact port", "sdp not source", "destination"}

// String names the reasons, separated by commas; "none" without any.
func (r Reasons) String() string {
	var names []string
	for i, n := range reasonNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}
