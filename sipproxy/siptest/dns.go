package siptest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A DNS is a table of records by name, in lower case, without the last dot. Its maps are not changed after SetDNS.
type DNS struct {
	IP    map[string][]string // A and AAAA
	SRV   map[string][]transport.SRV
	NAPTR map[string][]transport.NAPTR
	Fail  map[string]error // answered instead, for each record type: a server failure
	Delay time.Duration    // of every answer
	TTL   time.Duration    // of every record; 1 h
}

// SetDNS replaces the table that all hosts ask.
func (n *Network) SetDNS(d DNS) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dns = d
}

// Lookups is the number of questions asked so far.
func (n *Network) Lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// ask waits for the answer of the name server and gives the table.
func (n *Network) ask(ctx context.Context, name string) (d DNS, key string, ttl time.Duration, err error) {
	n.mu.Lock()
	d = n.dns
	n.asked++
	n.mu.Unlock()
	key = strings.ToLower(strings.TrimSuffix(name, "."))
	if ttl = d.TTL; ttl == 0 {
		ttl = time.Hour
	}
	if d.Delay > 0 {
		t := time.NewTimer(d.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return d, key, 0, ctx.Err()
	}
	return d, key, ttl, d.Fail[key]
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (d DNS) ips(name string) []netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}
	}
	var out []netip.Addr
	for _, s := range d.IP[strings.ToLower(strings.TrimSuffix(name, "."))] {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// LookupNAPTR answers from the table, in its order; nothing for a name without records, as transport.Net wants it.
func (n *Network) LookupNAPTR(ctx context.Context, name string) ([]transport.NAPTR, time.Duration, error) {
	d, key, ttl, err := n.ask(ctx, name)
	return answer(d.NAPTR[key], ttl, err)
}

// LookupSRV answers from the table, in the order of the table.
func (n *Network) LookupSRV(ctx context.Context, name string) ([]transport.SRV, time.Duration, error) {
	d, key, ttl, err := n.ask(ctx, name)
	return answer(d.SRV[key], ttl, err)
}

// LookupIP answers from the table, in the order of the table.
func (n *Network) LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	d, key, ttl, err := n.ask(ctx, name)
	return answer(d.ips(key), ttl, err)
}

func answer[R any](records []R, ttl time.Duration, err error) ([]R, time.Duration, error) {
	if err != nil {
		return nil, 0, err
	}
	return append([]R(nil), records...), ttl, nil
}

// LookupNAPTR asks the table of the Network.
func (h *Host) LookupNAPTR(ctx context.Context, name string) ([]transport.NAPTR, time.Duration, error) {
	return h.n.LookupNAPTR(ctx, name)
}

// LookupSRV asks the table of the Network.
func (h *Host) LookupSRV(ctx context.Context, name string) ([]transport.SRV, time.Duration, error) {
	return h.n.LookupSRV(ctx, name)
}

// LookupIP asks the table of the Network.
func (h *Host) LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	return h.n.LookupIP(ctx, name)
}
