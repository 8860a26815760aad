package transport

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

const zone = `
example.test. 300 IN NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.example.test.
example.test. 200 IN NAPTR 20 20 "s" "SIP+D2T" "" _sip._tcp.example.test.
_sip._udp.example.test. 100 IN SRV 10 60 5060 a.example.test.
_sip._udp.example.test. 100 IN SRV 20 0 5070 b.example.test.
a.example.test. 60 IN A 127.0.0.2
a.example.test. 60 IN AAAA ::1
b.example.test. 30 IN A 127.0.0.3
c.example.test. 30 IN CNAME b.example.test.
`

// dnsServer is an authoritative server on loopback for zone.
func dnsServer(t *testing.T) (at string, questions *atomic.Int64) {
	t.Helper()
	records := map[string][]dns.RR{}
	for p := dns.NewZoneParser(strings.NewReader(zone), ".", ""); ; {
		rr, ok := p.Next()
		if !ok {
			require.NoError(t, p.Err())
			break
		}
		records[rr.Header().Name] = append(records[rr.Header().Name], rr)
	}
	for i := range 200 {
		records["big.example.test."] = append(records["big.example.test."],
			&dns.SRV{Hdr: dns.RR_Header{Name: "big.example.test.", Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 10}, Port: uint16(i), Target: "a.example.test."})
	}
	questions = new(atomic.Int64)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		questions.Add(1)
		m := new(dns.Msg)
		m.SetReply(q)
		answer(m, records, q.Question[0].Name, q.Question[0].Qtype)
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(ednsBytes)
		}
		_ = w.WriteMsg(m)
	})
	pc, ln := samePort(t)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() { _, _ = pc.Close(), ln.Close() })
	return pc.LocalAddr().String(), questions
}

// samePort opens UDP and TCP on one port. One that is free for UDP may still be that of a connection just closed.
func samePort(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 50 {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		ln, err := net.Listen("tcp4", pc.LocalAddr().String())
		if err == nil {
			return pc, ln
		}
		_ = pc.Close()
	}
	require.FailNow(t, "no port is free for both")
	return nil, nil
}

func answer(m *dns.Msg, records map[string][]dns.RR, name string, typ uint16) {
	if strings.HasPrefix(name, "broken.") {
		m.Rcode = dns.RcodeServerFailure
		return
	}
	all, ok := records[strings.ToLower(name)]
	if !ok {
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900}, Ns: ".", Mbox: ".", Minttl: 3}}
		return
	}
	for _, rr := range all {
		if c, ok := rr.(*dns.CNAME); ok {
			m.Answer = append(m.Answer, rr)
			answer(m, records, c.Target, typ)
		}
		if rr.Header().Rrtype == typ {
			m.Answer = append(m.Answer, rr)
		}
	}
}

func TestSystemDNS(t *testing.T) {
	at, _ := dnsServer(t)
	s := SystemNet{DNS: at}
	ctx := context.Background()

	naptr, ttl, err := s.LookupNAPTR(ctx, "example.test")
	require.NoError(t, err)
	require.Equal(t, 200*time.Second, ttl, "the shortest")
	require.Equal(t, []NAPTR{{10, 20, "s", "SIP+D2U", "_sip._udp.example.test."}, {20, 20, "s", "SIP+D2T", "_sip._tcp.example.test."}}, naptr)

	srv, ttl, err := s.LookupSRV(ctx, "_sip._udp.example.test")
	require.NoError(t, err)
	require.Equal(t, 100*time.Second, ttl)
	require.Equal(t, []SRV{{10, 60, 5060, "a.example.test."}, {20, 0, 5070, "b.example.test."}}, srv)

	ip, ttl, err := s.LookupIP(ctx, "a.example.test")
	require.NoError(t, err)
	require.Equal(t, time.Minute, ttl)
	require.Equal(t, ips("127.0.0.2", "::1"), ip)

	ip, _, err = s.LookupIP(ctx, "c.example.test")
	require.NoError(t, err)
	require.Equal(t, ips("127.0.0.3"), ip)

	ip, ttl, err = s.LookupIP(ctx, "no.example.test")
	require.NoError(t, err)
	require.Empty(t, ip)
	require.Equal(t, 3*time.Second, ttl, "of the SOA")

	srv, _, err = s.LookupSRV(ctx, "big.example.test")
	require.NoError(t, err)
	require.Len(t, srv, 200, "by TCP")

	_, _, err = s.LookupSRV(ctx, "broken.example.test")
	require.ErrorIs(t, err, errDNS)
}

func TestResolveWithDNS(t *testing.T) {
	at, questions := dnsServer(t)
	l, _ := layer(t, Config{Net: SystemNet{DNS: at}}, "udp:127.0.0.1:0")
	got, err := l.Resolve(t.Context(), Query{Host: "example.test"})
	require.NoError(t, err)
	require.Equal(t, []Addr{
		{Proto: UDP, AddrPort: netip.MustParseAddrPort("127.0.0.2:5060"), Name: "example.test"},
		{Proto: UDP, AddrPort: netip.MustParseAddrPort("127.0.0.3:5070"), Name: "example.test"},
	}, got)
	require.EqualValues(t, 6, questions.Load())
	_, err = l.Resolve(t.Context(), Query{Host: "example.test"})
	require.NoError(t, err)
	require.EqualValues(t, 6, questions.Load())
}

func TestHostsFile(t *testing.T) {
	got, _, err := SystemNet{}.LookupIP(t.Context(), "localhost")
	require.NoError(t, err)
	require.Contains(t, got, netip.MustParseAddr("127.0.0.1"))
}
