package nat

import (
	"net/netip"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// Behind reports whether the sender of a request is behind a NAT as far as routing and media are concerned: one of the Usual reasons, of which
// SourcePort counts for UDP only, for a client's port of a connection says nothing. It fits rtprelay.Relay.When and registrar.Registrar.Received.
func Behind(r *sipproxy.Request) bool { return behind(r, Usual) }

// When makes a Behind of other tests.
func When(tests Reasons) func(*sipproxy.Request) bool {
	return func(r *sipproxy.Request) bool { return behind(r, tests) }
}

func behind(r *sipproxy.Request, tests Reasons) bool {
	if r.Source.Proto.Reliable() {
		tests &^= SourcePort | ContactPort
	}
	return detect(r, tests) != 0
}

// Detect runs every test on a request, as it was received.
func Detect(r *sipproxy.Request) Reasons { return detect(r, ^Reasons(0)) }

func detect(r *sipproxy.Request, tests Reasons) (found Reasons) {
	source := r.Source.AddrPort
	var at place
	if via, err := r.Via(); err == nil && tests&(ViaSource|ViaPrivate|SourcePort) != 0 {
		found |= viaReasons(&via, &at, &r.Source)
	}
	if tests&(ContactPrivate|ContactPort) != 0 {
		if c, _, err := r.Contact(); err == nil { // the first, as Kamailio
			found |= contactReasons(c, &at, source)
		}
	}
	if tests&(SDPPrivate|SDPSource) != 0 {
		found |= sdpReasons(r.Body(), source.Addr())
	}
	if tests&SourcePrivate != 0 && Private(source.Addr()) {
		found |= SourcePrivate
	}
	if p := r.Source.Proto; p == transport.WS || p == transport.WSS {
		found |= WebSocket
	}
	return found & tests
}

// DetectReply runs the tests that mean something for a response of a branch: those of Contact, SDP and WebSocket, against the address the
// branch went to.
func DetectReply(b *sipproxy.Branch, res *sip.Response) (found Reasons) {
	at := b.Remote.AddrPort
	if !at.IsValid() {
		return 0
	}
	found = sdpReasons(res.Body(), at.Addr())
	var c sip.NameAddr
	if _, err := res.FirstContact(&c); err == nil {
		found |= contactReasons(&c, new(place), at)
	}
	if Private(at.Addr()) {
		found |= SourcePrivate
	}
	if b.Remote.Proto == transport.WS || b.Remote.Proto == transport.WSS {
		found |= WebSocket
	}
	return found
}

// Callee tells, in OnSend and later hooks, whether a branch goes elsewhere than its Request-URI says: by the flow or source address of a registration.
func Callee(b *sipproxy.Branch) (found Reasons) {
	ip, ok := b.Request.URI.IP()
	if !ok || !b.Remote.AddrPort.IsValid() {
		return 0
	}
	if ip.Unmap() != b.Remote.AddrPort.Addr() || uriPort(&b.Request.URI) != b.Remote.AddrPort.Port() {
		found |= Destination
	}
	if Private(ip) {
		found |= ContactPrivate
	}
	if b.Remote.Proto == transport.WS || b.Remote.Proto == transport.WSS {
		found |= WebSocket | Destination
	}
	return found
}

func viaReasons(v *sip.Via, at *place, source *transport.Addr) (found Reasons) {
	at.read(v.Host)
	if !at.literal || at.ip.Unmap().WithZone("") != source.AddrPort.Addr().WithZone("") {
		found |= ViaSource // a name counts as different, as with Kamailio
	}
	if at.literal && Private(at.ip) {
		found |= ViaPrivate
	}
	port := v.Port
	if port == 0 {
		port = source.Proto.DefaultPort()
	}
	if port != source.AddrPort.Port() {
		found |= SourcePort
	}
	return found
}

func contactReasons(c *sip.NameAddr, at *place, source netip.AddrPort) (found Reasons) {
	if c.URI.Scheme != "sip" && !c.URI.IsSIP() { // "*" has none
		return 0
	}
	at.read(c.URI.Host)
	if at.literal && Private(at.ip) {
		found |= ContactPrivate
	}
	if uriPort(&c.URI) != source.Port() {
		found |= ContactPort
	}
	return found
}

// sdpReasons looks at the c= lines of a body, multipart or not. The unspecified address, which puts a stream on hold, says nothing.
func sdpReasons(body string, source netip.Addr) (found Reasons) {
	media := false
	for rest := body; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if strings.HasPrefix(line, "m=") {
			media = true
		}
		if strings.HasPrefix(line, "v=") {
			media = false // a further description
		}
		ip, ok := connectionAddr(line)
		if !ok || ip.IsUnspecified() {
			continue
		}
		if Private(ip) {
			found |= SDPPrivate
		}
		if !media && ip.Unmap() != source.Unmap().WithZone("") {
			found |= SDPSource
		}
	}
	return found
}

// connectionAddr reads "c=IN IP4 192.0.2.1".
func connectionAddr(line string) (netip.Addr, bool) {
	text, ok := strings.CutPrefix(strings.TrimRight(line, " \r"), "c=IN IP")
	if !ok || len(text) < 3 || text[0] != '4' && text[0] != '6' || text[1] != ' ' {
		return netip.Addr{}, false
	}
	text, _, _ = strings.Cut(text[2:], "/")
	ip, err := netip.ParseAddr(text)
	return ip, err == nil
}
