package transport

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
	hostsTTL   = time.Minute // of answers that say nothing about it
	dnsTimeout = 2 * time.Second
	dnsTries   = 2
	ednsBytes  = 1232
)

var errDNS = errors.New("transport: dns")

// LookupNAPTR asks the DNS for NAPTR records. A name without any gives none and no error.
func (s SystemNet) LookupNAPTR(ctx context.Context, name string) ([]NAPTR, time.Duration, error) {
	answer, ttl, err := s.query(ctx, name, dns.TypeNAPTR)
	var out []NAPTR
	for _, rr := range answer {
		if n, ok := rr.(*dns.NAPTR); ok {
			out = append(out, NAPTR{n.Order, n.Preference, n.Flags, n.Service, n.Replacement})
		}
	}
	return out, ttl, err
}

// LookupSRV asks for SRV records. A name without any gives none and no error.
func (s SystemNet) LookupSRV(ctx context.Context, name string) ([]SRV, time.Duration, error) {
	answer, ttl, err := s.query(ctx, name, dns.TypeSRV)
	var out []SRV
	for _, rr := range answer {
		if r, ok := rr.(*dns.SRV); ok {
			out = append(out, SRV{r.Priority, r.Weight, r.Port, r.Target})
		}
	}
	return out, ttl, err
}

// LookupIP asks for A and AAAA records, IPv4 addresses first. Without DNS (a zero field), /etc/hosts comes first, and the resolver of
// package net helps out for names without a dot and when no server answers.
func (s SystemNet) LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	if s.DNS == "" {
		if ips := hostsLookup(name); len(ips) > 0 {
			return ips, hostsTTL, nil
		}
		if !strings.Contains(strings.TrimSuffix(name, "."), ".") {
			return fallbackIP(ctx, name)
		}
	}
	ips, ttl, err := s.lookupBoth(ctx, name)
	if err != nil && s.DNS == "" {
		return fallbackIP(ctx, name)
	}
	return ips, ttl, err
}

func fallbackIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	var nx *net.DNSError
	if errors.As(err, &nx) && nx.IsNotFound {
		return nil, hostsTTL, nil
	}
	return ips, hostsTTL, err
}

// lookupBoth asks for A and AAAA at once. One good answer is enough.
func (s SystemNet) lookupBoth(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	types := [2]uint16{dns.TypeA, dns.TypeAAAA}
	var ips [2][]netip.Addr
	var ttls [2]time.Duration
	var errs [2]error
	var g errgroup.Group
	for i, t := range types {
		g.Go(func() error {
			var answer []dns.RR
			answer, ttls[i], errs[i] = s.query(ctx, name, t)
			ips[i] = addresses(answer)
			return nil
		})
	}
	_ = g.Wait()
	out := append(ips[0], ips[1]...)
	switch {
	case len(ips[0]) > 0 && len(ips[1]) == 0:
		return out, ttls[0], nil
	case len(ips[1]) > 0 && len(ips[0]) == 0:
		return out, ttls[1], nil
	}
	return out, min(ttls[0], ttls[1]), cmp.Or(errs[0], errs[1])
}

func addresses(answer []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// query asks the servers in turn, and each once more. CNAMEs are followed by the server (RFC 1034 §5.2.2).
func (s SystemNet) query(ctx context.Context, name string, t uint16) ([]dns.RR, time.Duration, error) {
	servers, err := s.servers()
	if err != nil {
		return nil, 0, err
	}
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), t)
	m.SetEdns0(ednsBytes, false)
	err = errDNS
	for range dnsTries {
		for _, server := range servers {
			var in *dns.Msg
			if in, err = exchange(ctx, m, server); err == nil {
				return in.Answer, ttlOf(in), nil
			}
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
		}
	}
	return nil, 0, err
}

func (s SystemNet) servers() ([]string, error) {
	if s.DNS != "" {
		return []string{s.DNS}, nil
	}
	c, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(c.Servers))
	for _, ip := range c.Servers {
		out = append(out, net.JoinHostPort(ip, c.Port))
	}
	return out, nil
}

// exchange asks one server, by TCP when the answer does not fit a datagram. A name that does not exist is an answer.
func exchange(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	c := dns.Client{Timeout: dnsTimeout, UDPSize: ednsBytes}
	in, _, err := c.ExchangeContext(ctx, m, server)
	if err == nil && in.Truncated {
		c.Net = "tcp"
		in, _, err = c.ExchangeContext(ctx, m, server)
	}
	if err != nil {
		return nil, err
	}
	if in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%w: %s from %s", errDNS, dns.RcodeToString[in.Rcode], server)
	}
	return in, nil
}

// ttlOf is how long the answer may be kept: the shortest of its records; of an empty one, what the SOA says (RFC 2308 §5).
func ttlOf(in *dns.Msg) time.Duration {
	least := uint32(ttlMax / time.Second)
	for _, rr := range in.Answer {
		least = min(least, rr.Header().Ttl)
	}
	if len(in.Answer) == 0 {
		for _, rr := range in.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				least = min(least, soa.Minttl, soa.Hdr.Ttl)
			}
		}
	}
	return time.Duration(least) * time.Second
}

// hostsLookup reads /etc/hosts.
func hostsLookup(name string) []netip.Addr {
	f, err := os.Open(hostsFile)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	name = strings.TrimSuffix(name, ".")
	var out []netip.Addr
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, host := range fields[1:] {
			if strings.EqualFold(host, name) {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}
