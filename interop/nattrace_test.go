package interop

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// A natTrace is what the registrar sent and received over UDP, with the addresses that the phones registered from.
type natTrace struct {
	*testing.T
	packets []packet
	server  string
	from    map[string]string // user: address outside its NAT
}

// checkNAT reads a trace of registrations and calls from behind NAT by REQUIREMENTS 140 to 147.
func checkNAT(t *testing.T, o *office) {
	t.Helper()
	text := settled(t, func() string {
		poll(t, "both BYEs, received and sent, in the trace", func() bool { return strings.Count(o.output(), "\nBYE sip:") >= 4 })
		return withoutLog(o.output())
	})
	c := &natTrace{T: t, packets: readTrace(t, text), server: o.addr["udp"], from: make(map[string]string)}
	for _, p := range c.packets {
		c.everywhere(p)
	}
	c.registrations()
	require.Len(t, c.from, 2)
	seen := make(map[string]int)
	for i, p := range c.packets {
		if p.from != c.server {
			continue
		}
		switch m := p.msg.(type) {
		case *sip.Request:
			seen[string(m.Method)]++
			c.request(c.packets[:i], p, m)
		case *sip.Response:
			if _, method, _ := m.CSeq(); method == sip.INVITE && m.Code == 200 {
				seen["200"]++
				c.answer(c.packets[:i], p, m)
			}
		}
	}
	for _, kind := range []string{"INVITE", "200", "ACK", "BYE"} {
		require.GreaterOrEqual(t, seen[kind], 2, "forwarded "+kind)
	}
}

// withoutLog leaves the lines of the log out.
func withoutLog(text string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if !strings.HasPrefix(l, "time=") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// everywhere is what holds for each message.
func (c *natTrace) everywhere(p packet) {
	c.Helper()
	require.Equal(c, p.announced, p.size, "Content-Length of\n%s", p.msg)
	if p.from != c.server {
		require.Contains(c, natAddrs, netip.MustParseAddrPort(p.from).Addr().String(), "who is that?")
		return
	}
	require.Contains(c, natAddrs, netip.MustParseAddrPort(p.to).Addr().String(), "143, 144: nothing goes to a private address:\n%s", p.msg)
	h := p.msg.Head()
	require.False(c, h.Has("Authorization") || h.Has("Proxy-Authorization"), "credentials for the registrar are nobody else's business:\n%s", p.msg)
	if m, ok := p.msg.(*sip.Response); ok { // 140, 143: to where the request came from, and saying so
		to := netip.MustParseAddrPort(p.to)
		v, err := m.Via()
		require.NoError(c, err)
		require.Equal(c, homeAddr+":5070", v.HostPort())
		c.stamped(v, to)
	}
}

// stamped: received and rport tell the source.
func (c *natTrace) stamped(v sip.Via, source netip.AddrPort) {
	c.Helper()
	received, _ := v.Params.Get("received")
	rport, _ := v.Params.Get("rport")
	require.Equal(c, source.Addr().String(), received)
	require.Equal(c, strconv.Itoa(int(source.Port())), rport)
}

// registrations checks the 200s to REGISTER (140) and learns who is where.
func (c *natTrace) registrations() {
	c.Helper()
	for _, p := range c.packets {
		m, ok := p.msg.(*sip.Response)
		if !ok || m.Code != 200 {
			continue
		}
		if _, method, _ := m.CSeq(); method != sip.REGISTER {
			continue
		}
		contacts := slices.Collect(m.Values("Contact"))
		if len(contacts) == 0 {
			continue // the phone went
		}
		require.Len(c, contacts, 1)
		require.Contains(c, contacts[0], "@"+homeAddr+":5070")
		require.Contains(c, contacts[0], ";expires=60")
		require.Contains(c, contacts[0], `;received="sip:`+p.to+`"`)
		to, err := m.To()
		require.NoError(c, err)
		c.from[to.URI.User] = p.to
	}
}

// request is one that the proxy forwards.
func (c *natTrace) request(before []packet, p packet, m *sip.Request) {
	c.Helper()
	in, ok := c.received(before, m)
	require.True(c, ok, "a request that nobody sent here:\n%s", m)
	user, _, _ := strings.Cut(m.URI.User, "-")
	require.Equal(c, homeAddr+":5070", m.URI.HostPort(), "144, 147: the Request-URI is the private Contact")
	require.Equal(c, c.from[user], p.to, "144, 147: the destination is where the phone registered from")
	vias := slices.Collect(m.Values("Via"))
	require.Len(c, vias, 2)
	for v, err := range m.Vias() { // 146
		require.NoError(c, err)
		if v.HostPort() != c.server {
			c.stamped(v, netip.MustParseAddrPort(in.from))
		}
	}
	hops, err := m.MaxForwards()
	require.NoError(c, err)
	require.Equal(c, 69, hops)
	require.False(c, m.Has("Route"), "ours was the last")
	require.Equal(c, unchanged(in.msg), unchanged(m))
	if m.Method != sip.INVITE {
		return
	}
	require.True(c, m.Has("Record-Route"))
	for rr := range m.Values("Record-Route") {
		require.Contains(c, rr, "@"+c.server+";lr")
		require.Contains(c, rr, ";nat=yes")
	}
	c.relayed(in.msg, m)
}

// answer is a 200 to INVITE that the proxy forwards.
func (c *natTrace) answer(before []packet, p packet, m *sip.Response) {
	c.Helper()
	for _, q := range slices.Backward(before) {
		in, ok := q.msg.(*sip.Response)
		if !ok || q.to != c.server || in.Code != m.Code || in.CallID() != m.CallID() {
			continue
		}
		require.Equal(c, unchanged(in), unchanged(m), "147: only the description changes in a response")
		require.Equal(c, slices.Collect(in.Values("Record-Route")), slices.Collect(m.Values("Record-Route")))
		c.relayed(in, m)
		return
	}
	require.Fail(c, "an answer from nowhere", "%s", m)
}

// received is what the proxy forwards as m.
func (c *natTrace) received(before []packet, m *sip.Request) (packet, bool) {
	for _, q := range slices.Backward(before) {
		if r, ok := q.msg.(*sip.Request); ok && q.to == c.server && r.Method == m.Method && r.CallID() == m.CallID() && r.FromTag() == m.FromTag() {
			return q, true
		}
	}
	return packet{}, false
}

// unchanged is the fields that stay as they are.
func unchanged(m sip.Message) []string {
	return slices.DeleteFunc(rest(m, true), func(f string) bool {
		return strings.HasPrefix(f, "Content-Length:") || strings.HasPrefix(f, "Proxy-Authorization:")
	})
}

// relayed: in o=, c= and m= stands the relay in place of the phone, a marker says so, and all other lines are as they were (146).
func (c *natTrace) relayed(in, out sip.Message) {
	c.Helper()
	was, is := sdpLines(in), sdpLines(out)
	require.Equal(c, "a=nortpproxy:yes", is[len(is)-1])
	is = is[:len(is)-1]
	require.Len(c, is, len(was))
	for i := range was {
		switch was[i][:2] {
		case "o=", "c=":
			require.Equal(c, strings.Replace(was[i], homeAddr, serverAddr, 1), is[i])
			require.NotEqual(c, was[i], is[i])
		case "m=":
			a, b := strings.Fields(was[i]), strings.Fields(is[i])
			require.Equal(c, slices.Delete(a, 1, 2), slices.Delete(b, 1, 2))
			require.NotEqual(c, strings.Fields(was[i])[1], strings.Fields(is[i])[1], "the port of the relay")
		default:
			require.Equal(c, was[i], is[i])
		}
	}
}

func sdpLines(m sip.Message) []string {
	return strings.Split(strings.TrimSpace(m.Head().Body()), "\r\n")
}
