package rtprelay

import (
	"strings"
	"time"
)

const (
	replyLife = 32 * time.Second // at least so long a repeated cookie gets the same reply
	maxCached = 1 << 14          // replies of one generation; beyond: the oldest go early
)

// replyCache makes retransmitted commands harmless. The key is the cookie alone, as RTPProxy has it. Two generations save
// a clock for every entry: one is written, both are read, the older one is dropped as a whole.
type replyCache struct {
	young, old map[string][]byte
	born       time.Time
}

func (r *replyCache) turn(now time.Time) {
	age := now.Sub(r.born)
	switch {
	case r.young == nil || age >= 2*replyLife:
		r.young, r.old, r.born = map[string][]byte{}, nil, now
	case age >= replyLife || len(r.young) >= maxCached:
		r.young, r.old, r.born = map[string][]byte{}, r.young, now
	}
}

func (r *replyCache) find(cookie string, now time.Time) ([]byte, bool) {
	r.turn(now)
	if b, ok := r.young[cookie]; ok {
		return b, true
	}
	b, ok := r.old[cookie]
	return b, ok
}

func (r *replyCache) keep(cookie string, reply []byte, now time.Time) {
	r.turn(now)
	r.young[strings.Clone(cookie)] = reply
}
