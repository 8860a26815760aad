package sipproxy

import (
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A lateUser takes the place of a branch in its client transaction once a 2xx has decided the fork and no hook wants to see more: all that is left to do for
// the 32 s of Accepted is to relay further 2xx (RFC 6026 §8.7). It holds next to nothing, where the branch would hold request and fork.
type lateUser struct {
	srv *Server
	tx  *transaction.Server
}

func (u *lateUser) Response(_ *transaction.Client, res *sip.Response, _ transport.Flow) {
	if !res.IsSuccess() {
		return
	}
	res.PopVia()
	if _, err := res.Via(); err != nil {
		u.srv.count.strayResponses.Add(1)
		return
	}
	if err := u.tx.Respond(res); err != nil {
		u.srv.count.unsent.Add(1)
	}
}

func (u *lateUser) Ended(*transaction.Client, error) {}

// slim lets the fork go. Called with r.mu held, after a 2xx to an INVITE has gone upstream through the transaction.
func (f *fork) slim() {
	r := f.r
	if r.Method != sip.INVITE || len(r.hung().response) > 0 || r.sent/100 != 2 {
		return
	}
	u := &lateUser{r.srv, r.tx}
	for _, b := range f.branches {
		if b.client != nil {
			b.client.SetUser(u)
		}
	}
}

// An outrunUser is the user of a try that took longer than Target.Trying, while the branch is on its way to the next address: its late 1xx is answered with
// CANCEL by the transaction, a 2xx still counts.
type outrunUser Branch

// outrun leaves a try behind. Called with r.mu held.
func (b *Branch) outrun(c *transaction.Client) {
	if b.Of.Method == sip.INVITE {
		c.SetUser((*outrunUser)(b))
		return
	}
	c.Abandon()
}

func (u *outrunUser) Response(c *transaction.Client, res *sip.Response, f transport.Flow) {
	if !res.IsSuccess() {
		return
	}
	b := (*Branch)(u)
	b.Of.mu.Lock()
	if b.client != nil && !b.ended {
		b.client.Cancel("")
	}
	b.Of.mu.Unlock()
	(*clientUser)(b).Response(c, res, f)
}

func (u *outrunUser) Ended(*transaction.Client, error) {}
