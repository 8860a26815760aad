package transport

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// srvOrder orders records by priority and, within one priority, by weighted chance (RFC 2782); hash, when not 0, takes the
// place of chance.
func srvOrder(records []SRV, hash uint64) []SRV {
	out := slices.Clone(records)
	slices.SortFunc(out, func(a, b SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Weight, b.Weight),
			cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	draw := rand.IntN
	if hash != 0 {
		draw = func(n int) int {
			hash = mix(hash)
			return int(hash % uint64(n))
		}
	}
	for at := 0; at < len(out); {
		end := at + 1
		for end < len(out) && out[end].Priority == out[at].Priority {
			end++
		}
		weigh(out[at:end], draw)
		at = end
	}
	return out
}

// weigh orders records of one priority, which come sorted by weight so that those of weight 0 stand first.
func weigh(group []SRV, draw func(int) int) {
	sum := 0
	for _, r := range group {
		sum += int(r.Weight)
	}
	for i := range group {
		n := draw(sum + 1)
		j := i
		for run := int(group[j].Weight); run < n; run += int(group[j].Weight) {
			j++
		}
		chosen := group[j]
		copy(group[i+1:j+1], group[i:j])
		group[i] = chosen
		sum -= int(chosen.Weight)
	}
}
