package transport

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sync/singleflight"

	"github.com/sipkit/sipkit/sip"
)

// errWait: the answer is not in the cache.
var errWait = errors.New("transport: lookup needed")

// resolver finds where a URI lives (RFC 3263 §4): NAPTR, then SRV, then A and AAAA.
type resolver struct {
	l      *Layer
	cache  cache
	flight singleflight.Group
	places chan struct{} // a token for each question in progress
	health health
}

func (r *resolver) init(l *Layer) {
	r.l = l
	r.cache.init(l.base)
	r.places = make(chan struct{}, l.cfg.Lookups)
	r.health.init(l.base)
}

// Resolve gives the addresses to try in order, targets that lately failed last. It may wait for DNS, at most
// Config.ResolveTimeout; ErrNoAddress when there are none.
func (l *Layer) Resolve(ctx context.Context, q Query) ([]Addr, error) {
	if addrs, ok := l.ResolveNow(nil, q); ok {
		if len(addrs) == 0 {
			return nil, ErrNoAddress
		}
		return addrs, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ResolveTimeout)
	defer cancel()
	return l.resolver.resolve(nil, q, lookup{r: &l.resolver, ctx: ctx})
}

// ResolveNow is Resolve for what needs no waiting: literals and cached names. ok is false when Resolve is needed. dst is
// reused. An empty answer with ok means that there is no address.
func (l *Layer) ResolveNow(dst []Addr, q Query) (addrs []Addr, ok bool) {
	addrs, err := l.resolver.resolve(dst[:0], q, lookup{r: &l.resolver})
	if errors.Is(err, errWait) {
		return dst[:0], false
	}
	if err != nil {
		return dst[:0], true
	}
	return addrs, true
}

// Literal is ResolveNow for the host and port, 0 for none, of a sip URI without parameters. ok is false where the host is no IPv4 address, or more must be known.
func (l *Layer) Literal(host string, port uint16) (to Addr, ok bool) {
	ip, ok := sip.IPv4(host)
	if !ok || len(l.udp) == 0 {
		return to, false
	}
	return Addr{Proto: UDP, AddrPort: netip.AddrPortFrom(ip, cmp.Or(port, UDP.DefaultPort()))}, true
}

// Report tells the health table how a target did; failed ones are tried last for 30 s.
func (l *Layer) Report(a Addr, ok bool) { l.resolver.health.report(a, ok) }

// Failed reports whether a target failed within the last 30 s and has not been seen well since.
func (l *Layer) Failed(a Addr) bool { return l.resolver.health.down(a) }

// A hop is a host and port to look up, and the protocol to use there.
type hop struct {
	proto Proto
	host  string
	port  uint16
}

func (r *resolver) resolve(dst []Addr, q Query, look lookup) ([]Addr, error) {
	q.Host = strings.TrimSuffix(q.Host, ".")
	q, ok := r.effective(q)
	if !ok || q.Host == "" {
		return dst, ErrNoAddress
	}
	if ip, literal := parseIP(q.Host); literal {
		p := r.given(q)
		return append(dst, Addr{Proto: p, AddrPort: netip.AddrPortFrom(ip, cmp.Or(q.Port, p.DefaultPort()))}), nil
	}
	hops, err := r.hops(q, look)
	if err != nil {
		return dst, err
	}
	dst, err = r.addresses(dst, q, hops, look)
	r.health.sort(dst)
	return dst, err
}

// effective merges scheme and transport: sips means TLS, whatever reliable transport is named (§4.1, RFC 3261 §26.2.2).
func (r *resolver) effective(q Query) (Query, bool) {
	if !q.Secure {
		return q, true
	}
	switch q.Proto {
	case TCP:
		q.Proto = TLS
	case WS:
		q.Proto = WSS
	case UDP, SCTP:
		return q, false
	}
	return q, true
}

// given is the protocol of the query, or the default: TLS for sips, else UDP, else what we have.
func (r *resolver) given(q Query) Proto {
	switch {
	case q.Proto != 0:
		return q.Proto
	case q.Secure:
		return TLS
	case r.l.speaks(UDP):
		return UDP
	}
	return TCP
}

// speaks reports whether messages can be sent by p: UDP needs a listener, connections do not.
func (l *Layer) speaks(p Proto) bool {
	if p == UDP {
		return len(l.udp) > 0 || len(l.listeners) == 0
	}
	return stackOf(p) != nil
}

// hops are the hosts and ports to try in order (§4.1, §4.2).
func (r *resolver) hops(q Query, look lookup) ([]hop, error) {
	if q.Port != 0 {
		return []hop{{r.given(q), q.Host, q.Port}}, nil
	}
	if q.Proto != 0 {
		return r.orHost(q, q.Proto)(r.services(q, srvName(q.Proto, q.Host), q.Proto, look))
	}
	if hops, err := r.naptr(q, look); err != nil || len(hops) > 0 {
		return hops, err
	}
	// No NAPTR: SRV for each protocol we speak.
	for _, p := range [...]Proto{UDP, TCP, TLS} {
		if q.Secure && p != TLS || !r.l.speaks(p) {
			continue
		}
		hops, err := r.services(q, srvName(p, q.Host), p, look)
		if err != nil || len(hops) > 0 {
			return hops, err
		}
	}
	p := r.given(q)
	return []hop{{p, q.Host, p.DefaultPort()}}, nil
}

// orHost adds the host itself where there is no SRV record.
func (r *resolver) orHost(q Query, p Proto) func([]hop, error) ([]hop, error) {
	return func(hops []hop, err error) ([]hop, error) {
		if err == nil && len(hops) == 0 {
			hops = []hop{{p, q.Host, p.DefaultPort()}}
		}
		return hops, err
	}
}

func srvName(p Proto, host string) string {
	switch p {
	case UDP:
		return "_sip._udp." + host
	case TLS:
		return "_sips._tcp." + host
	case SCTP:
		return "_sip._sctp." + host
	case WS:
		return "_sip._ws." + host
	case WSS:
		return "_sips._ws." + host
	}
	return "_sip._tcp." + host
}

// naptr follows the first NAPTR record (by order and preference) whose service we speak and that leads somewhere.
func (r *resolver) naptr(q Query, look lookup) ([]hop, error) {
	records, err := look.naptr(q.Host)
	if err != nil {
		return nil, err
	}
	for _, n := range records { // sorted when cached
		p := naptrProto(n.Service)
		if p == 0 || !r.l.speaks(p) || q.Secure && p != TLS || n.Replacement == "" {
			continue
		}
		if !strings.EqualFold(n.Flags, "s") {
			continue
		}
		hops, err := r.services(q, n.Replacement, p, look)
		if err != nil || len(hops) > 0 {
			return hops, err
		}
	}
	return nil, nil
}

func naptrProto(service string) Proto {
	switch {
	case strings.EqualFold(service, "SIP+D2U"):
		return UDP
	case strings.EqualFold(service, "SIP+D2T"):
		return TCP
	case strings.EqualFold(service, "SIPS+D2T"):
		return TLS
	}
	return 0
}

// services are the targets of an SRV name in the order to try them (RFC 2782).
func (r *resolver) services(q Query, name string, p Proto, look lookup) ([]hop, error) {
	records, err := look.srv(name)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	if len(records) == 1 && (records[0].Target == "." || records[0].Target == "") {
		return nil, ErrNoAddress // decidedly not offered
	}
	hops := make([]hop, 0, len(records))
	for _, s := range srvOrder(records, q.Hash) {
		hops = append(hops, hop{p, strings.TrimSuffix(s.Target, "."), s.Port})
	}
	return hops, nil
}

// addresses looks up the hosts. A host without an address is left out.
func (r *resolver) addresses(dst []Addr, q Query, hops []hop, look lookup) ([]Addr, error) {
	for _, h := range hops {
		ips, err := look.ip(h.host)
		if errors.Is(err, errWait) || look.ended() {
			return dst, cmp.Or(err, ErrNoAddress)
		}
		at := len(dst)
		for _, ip := range ips {
			if r.l.reaches(h.proto, ip) {
				dst = append(dst, Addr{Proto: h.proto, AddrPort: netip.AddrPortFrom(ip, h.port), Name: q.Host})
			}
		}
		if q.Hash != 0 {
			rotate(dst[at:], q.Hash)
		}
	}
	if len(dst) == 0 {
		return dst, ErrNoAddress
	}
	return dst, nil
}

// reaches leaves out families for which we have no socket.
func (l *Layer) reaches(p Proto, ip netip.Addr) bool {
	if len(l.listeners) == 0 {
		return true
	}
	if p != UDP {
		p = 0
	}
	for _, ln := range l.listeners {
		if (p == 0 || ln.addr.Proto == p) && ln.sameFamily(ip) {
			return true
		}
	}
	return false
}

// rotate starts the addresses of one host at a place that the hash chooses, whatever order the DNS gave.
func rotate(a []Addr, hash uint64) {
	if len(a) < 2 {
		return
	}
	slices.SortFunc(a, func(x, y Addr) int { return x.AddrPort.Compare(y.AddrPort) })
	n := int(mix(hash) % uint64(len(a)))
	slices.Reverse(a[:n])
	slices.Reverse(a[n:])
	slices.Reverse(a)
}

// mix spreads a hash over all its bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
