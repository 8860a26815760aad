package middleware

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
)

// Prefixes is a set of networks. A lookup takes some ten nanoseconds however many there are. The zero value is empty. Reading
// is safe for concurrent use.
type Prefixes struct {
	few   []netip.Prefix // all of them, while looking at each touches less than the table
	table bart.Lite
}

// fewPrefixes is how many are looked at one by one.
const fewPrefixes = 4

// NewPrefixes makes a set. Host bits that are set in a prefix ("3.4.5.6/24") do not count; IPv4 networks mapped into IPv6 are taken as
// IPv4. An invalid prefix is ignored.
func NewPrefixes(prefixes ...netip.Prefix) *Prefixes {
	s := new(Prefixes)
	few := len(prefixes) <= fewPrefixes
	for _, p := range prefixes {
		if p = unmapped(p).Masked(); few {
			s.few = append(s.few, p)
		} else {
			s.table.Insert(p)
		}
	}
	return s
}

// Contains reports whether one of the networks holds the address.
func (s *Prefixes) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for i := range s.few {
		if s.few[i].Contains(a) {
			return true
		}
	}
	return s.few == nil && s.table.Contains(a)
}

func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// ParsePrefixes reads networks and single addresses separated by commas: "3.4.5.6/24,198.51.100.7,2001:db8::/32". The
// error names every malformed one.
func ParsePrefixes(list string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	var errs []error
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		p, err := parsePrefix(item)
		if err != nil {
			errs = append(errs, fmt.Errorf("middleware: %q is neither a network nor an address", item))
			continue
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, errors.Join(errs...)
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}
