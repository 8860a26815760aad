package main

import (
	"context"
	"iter"
	"slices"

	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/registrar"
)

// natted yields the contacts whose phones are reached by the way their registration came, and which do not keep it open by themselves (RFC 5626).
func (p *proxy) natted(ctx context.Context) iter.Seq[nat.Contact] {
	return func(yield func(nat.Contact) bool) {
		for aor, list := range p.store.Scan(ctx) {
			for i := range list {
				b := &list[i]
				if b.RegID != 0 || b.Received.IsZero() {
					continue
				}
				if _, ours := p.server.FlowTo(b.Local, b.Received); !ours { // another node's
					continue
				}
				c := nat.Contact{ID: string(aor) + " " + b.Contact.String(), URI: b.Contact, Local: b.Local, Remote: b.Received}
				if !yield(c) {
					return
				}
			}
		}
	}
}

// gone removes the binding of a phone that does not answer any more.
func (p *proxy) gone(ctx context.Context, c nat.Contact) {
	aor, _ := cutLast(c.ID, ' ')
	err := p.store.Update(ctx, registrar.AOR(aor), func(old []registrar.Binding) ([]registrar.Binding, error) {
		return slices.DeleteFunc(slices.Clone(old), func(b registrar.Binding) bool { return same(b, c) }), nil
	})
	if err != nil {
		p.log.Warn("a phone that is gone stays registered", "contact", c.ID, "error", err)
		return
	}
	p.log.Info("a phone does not answer any more", "contact", c.ID)
}

// same: the phone has not registered from elsewhere meanwhile.
func same(b registrar.Binding, c nat.Contact) bool {
	return b.Contact.Equal(c.URI) && b.Received == c.Remote
}
