package registrar

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Redirect answers with the contacts of the Request-URI's user, highest q first (§8.3): 302, or why there are none.
func (g *Registrar) Redirect(ctx context.Context, r *sipproxy.Request) *sip.Response {
	l := lookups.Get().(*lookup)
	defer l.release()
	list, res := g.find(ctx, r, r.URI, l)
	if res != nil {
		return res
	}
	if r.Method == sip.ACK {
		return sipproxy.NoReply
	}
	slices.SortStableFunc(list, func(a, b *Binding) int { return cmp.Compare(b.Q, a.Q) })
	res = r.Reply(302)
	for _, x := range list {
		res.AddFunc("Contact", func(b []byte) []byte {
			b = x.Contact.AppendTo(append(b, '<'))
			b = append(b, ">;q="...)
			return strconv.AppendFloat(b, float64(x.Q), 'f', -1, 32)
		})
	}
	return res
}
