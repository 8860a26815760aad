package sip

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFirstContact(t *testing.T) {
	for text, want := range map[string]struct {
		host string
		more bool
		err  bool
	}{
		"":                                {err: true},
		"Contact:\r\n":                    {err: true},
		"Contact: ,\r\n":                  {err: true},
		"m: <sip:a@b>;q=1\r\n":            {host: "b"},
		"Contact: <sip:a,c@b>\r\n":        {host: "b"},
		"Contact: , <sip:a@b>\r\n":        {host: "b"},
		"Contact: <sip:a@b>, <sip:c>\r\n": {host: "b", more: true},
		"Contact: <sip:a@b>\r\nContact: <sip:c>\r\n": {host: "b", more: true},
		"Contact:\r\nm: <sip:c>\r\n":                 {host: "c"},
		"Contact: <sip:a@b>\r\nContact:\r\n":         {host: "b"},
		"Contact: <sip:a@\r\n":                       {err: true},
		"Contact: <sip:a@, <sip:c>\r\n":              {err: true},
	} {
		m, err := ParseString("REGISTER sip:x SIP/2.0\r\n" + text + "\r\n")
		require.NoError(t, err)
		var n NameAddr
		more, err := m.Head().FirstContact(&n)
		require.Equal(t, want.err, err != nil, text)
		if err == nil {
			require.Equal(t, want.more, more, text)
			require.Equal(t, want.host, n.URI.Host, text)
		}
	}
}

func TestIPv4(t *testing.T) {
	for s, ok := range map[string]bool{
		"192.0.2.255": true, "0.0.0.0": true, "255.255.255.255": true, "1.2.3.4": true,
		"": false, "1.2.3": false, "1.2.3.4.5": false, "1.2.3.256": false, "01.2.3.4": false, "1..3.4": false, ".1.2.3": false, "1.2.3.": false,
		"1.2.3.4 ": false, "::1": false, "a.b.c.d": false, "1.2.3.0004": false, "1.2.3.99999999999999999999": false,
		".": false, "1.2.3.4.": false, "256.1.1.1": false, "1.2.3.00": false, "1.2.3.4x": false, "::ffff:1.2.3.4": false, "1.2.3.-4": false,
	} {
		a, is := IPv4(s)
		require.Equal(t, ok, is, s)
		if ok {
			require.Equal(t, s, a.String())
		}
	}
}

// What mayHave says is not there is not found by reading either.
func TestParamsMayHave(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const letters = `;;;;==rR"\ ` + "\t\r\nabp,"
	names := []string{"r", "R", "a", "ab", "p", "rr"}
	for range 20000 {
		b := make([]byte, r.IntN(16))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		p := Params(b)
		for _, name := range names {
			found := false
			for i := 0; ; {
				q, ok := p.next(i)
				if !ok {
					break
				}
				found = found || equalFold(q.name, name)
				i = q.end
			}
			if found {
				require.True(t, p.mayHave(name), "%q %q", p, name)
			}
		}
	}
}
