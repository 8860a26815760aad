package sipproxy

import (
	"cmp"
	"context"
	"slices"

	"github.com/sipkit/sipkit/sip"
)

// ForwardInTurn forwards to the targets in groups of falling q, those of equal q at once, until a group's best response ends the
// search (Target.Stop of any of the group; by default 2xx and 6xx). It returns the best response of all groups (§16.7 step 6).
func (r *Request) ForwardInTurn(ctx context.Context, targets ...Target) *sip.Response {
	if len(targets) == 0 || r.tx == nil {
		return r.Forward(ctx, targets...)
	}
	list := slices.Clone(targets)
	slices.SortStableFunc(list, func(a, b Target) int { return cmp.Compare(b.Q, a.Q) })
	var best *sip.Response
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Q == list[0].Q {
			n++
		}
		res := r.Forward(ctx, list[:n]...)
		if res.IsSuccess() || stops(list[:n], res) || r.isCanceled() {
			return res
		}
		if best == nil || rank(res) < rank(best) {
			best = res
		}
		if ctx.Err() != nil {
			break
		}
		list = list[n:]
	}
	return best
}

func stops(group []Target, res *sip.Response) bool {
	for i := range group {
		if f := group[i].Stop; f != nil {
			if f(res) {
				return true
			}
		} else if res.Code >= 600 {
			return true
		}
	}
	return false
}

func (r *Request) isCanceled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.canceled
}
