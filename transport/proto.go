package transport

import "strings"

// A Proto is a SIP transport protocol. The numbers are those Kamailio writes into Contact aliases.
type Proto uint8

// The transport protocols of RFC 3261, RFC 4168 and RFC 7118.
const (
	UDP  Proto = 1
	TCP  Proto = 2
	TLS  Proto = 3
	SCTP Proto = 4
	WS   Proto = 5
	WSS  Proto = 6
)

type protoNames struct {
	uri, via string
	port     uint16
}

var protos = [...]protoNames{
	0:    {"none", "NONE", 0},
	UDP:  {"udp", "UDP", 5060},
	TCP:  {"tcp", "TCP", 5060},
	TLS:  {"tls", "TLS", 5061},
	SCTP: {"sctp", "SCTP", 5060},
	WS:   {"ws", "WS", 80},
	WSS:  {"wss", "WSS", 443},
}

func (p Proto) names() *protoNames {
	if int(p) >= len(protos) {
		p = 0
	}
	return &protos[p]
}

// String is the spelling of URI parameters and listen addresses: "udp".
func (p Proto) String() string { return p.names().uri }

// ViaName is the spelling of Via: "UDP".
func (p Proto) ViaName() string { return p.names().via }

// ParseProto reads either spelling, without case.
func ParseProto(s string) (Proto, bool) {
	if s == "" {
		return 0, false
	}
	for p := UDP; p <= WSS; p++ {
		if strings.EqualFold(s, protos[p].uri) {
			return p, true
		}
	}
	return 0, false
}

// Reliable is true for all but UDP.
func (p Proto) Reliable() bool { return p > UDP && p <= WSS }

// Secure is true for TLS and WSS.
func (p Proto) Secure() bool { return p == TLS || p == WSS }

// DefaultPort is 5060, 5061, 80 or 443 (RFC 3261 §19.1.2, RFC 7118 §5.2); 0 for an unknown protocol.
func (p Proto) DefaultPort() uint16 { return p.names().port }
