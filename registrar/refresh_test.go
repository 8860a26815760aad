package registrar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// TestRefresh tries which registrations take the short way, and that it leaves what the long one does.
func TestRefresh(t *testing.T) {
	base := func(now time.Time) Binding {
		return Binding{Contact: sip.URI{Scheme: "sip", User: "bob", Host: "192.0.2.4", Port: 5070}, Q: 1, CallID: "first", CSeq: 7,
			UserAgent: "phone", Params: ";x=y", Updated: now, Expires: now.Add(time.Hour)}
	}
	other := sip.URI{Scheme: "sip", User: "bob", Host: "192.0.2.4", Port: 5071}
	for name, c := range map[string]struct {
		wait      time.Duration
		old, next func(*Binding)
		second    bool
		short     bool
	}{
		"higher CSeq":            {next: func(b *Binding) { b.CSeq++ }, short: true},
		"other Call-ID":          {next: func(b *Binding) { b.CallID, b.CSeq = "the second", 1 }, short: true},
		"other flags":            {next: func(b *Binding) { b.CSeq, b.Flags, b.Q = 8, 1, 0.5 }, short: true},
		"later":                  {wait: time.Minute, next: func(b *Binding) { b.CSeq++ }, short: true},
		"same CSeq":              {next: func(*Binding) {}},
		"lower CSeq":             {next: func(b *Binding) { b.CSeq-- }},
		"other port":             {next: func(b *Binding) { b.CSeq, b.Contact = 8, other }},
		"other user":             {next: func(b *Binding) { b.CSeq, b.Contact.User = 8, "Bob" }},
		"user longer by length":  {next: func(b *Binding) { b.CSeq, b.Contact.User = 8, "bobby" }},
		"other agent":            {next: func(b *Binding) { b.CSeq, b.UserAgent = 8, "Phone" }},
		"other parameters":       {next: func(b *Binding) { b.CSeq, b.Params = 8, "" }},
		"expired":                {wait: time.Hour, next: func(b *Binding) { b.CSeq = 1 }},
		"expires sooner":         {next: func(b *Binding) { b.CSeq, b.Expires = 8, b.Updated.Add(time.Minute) }},
		"removed":                {next: func(b *Binding) { b.CSeq, b.Expires = 8, b.Updated }},
		"second contact":         {second: true, next: func(b *Binding) { b.CSeq++ }},
		"other reg-id":           {old: device(1), next: func(b *Binding) { device(2)(b); b.CSeq++ }},
		"same reg-id":            {old: device(1), next: func(b *Binding) { device(1)(b); b.CSeq++ }, short: true},
		"long user":              {old: long, next: func(b *Binding) { long(b); b.CSeq++ }},
		"Call-ID long, then not": {old: func(b *Binding) { b.CallID = string(make([]byte, 200)) }, next: func(b *Binding) { b.CSeq++ }},
		"none before":            {old: func(b *Binding) { b.Expires = b.Updated }, next: func(b *Binding) { b.CSeq++ }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				short, long := &Memory{}, &Memory{}
				defer short.Close()
				defer long.Close()
				was := base(time.Now())
				if c.old != nil {
					c.old(&was)
				}
				list := []Binding{was}
				if c.second {
					list = append(list, Binding{Contact: other, Q: 1, CallID: "x", CSeq: 1, Expires: time.Now().Add(time.Hour)})
				}
				for _, m := range []*Memory{short, long} {
					require.NoError(t, m.Update(ctx, "bob@a", func([]Binding) ([]Binding, error) { return list, nil }))
				}
				time.Sleep(c.wait)
				is := base(time.Now())
				c.next(&is)
				reg := registration{aor: "bob@a", callID: is.CallID, cseq: is.CSeq, contacts: []Binding{is}, now: time.Now(), limit: 10}
				_, done := short.refresh(&reg)
				require.Equal(t, c.short, done)
				if !done {
					return
				}
				require.NoError(t, long.Update(ctx, "bob@a", reg.apply))
				want, err := long.Lookup(ctx, "bob@a")
				require.NoError(t, err)
				got, err := short.Lookup(ctx, "bob@a")
				require.NoError(t, err)
				require.Equal(t, want, got)
				time.Sleep(time.Until(is.Expires) + time.Second)
				synctest.Wait()
				require.Zero(t, short.Stats().AORs, "expired in its time")
			})
		})
	}
}

func device(regID uint32) func(*Binding) {
	return func(b *Binding) { b.Instance, b.RegID = "<urn:uuid:1>", regID }
}

func long(b *Binding) { b.Contact.User = string(make([]byte, 150)) }
