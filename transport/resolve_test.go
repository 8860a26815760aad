package transport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func ips(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func exampleNet() *memNet {
	n := newMemNet()
	n.naptr = map[string][]NAPTR{
		"naptr.example": {
			{50, 70, "s", "SIP+D2T", "_sip._tcp.naptr.example"},
			{50, 50, "s", "SIPS+D2T", "_sips._tcp.naptr.example"},
			{10, 10, "s", "SIP+D2X", "_sip._x.naptr.example"},
			{90, 50, "s", "SIP+D2U", "_sip._udp.naptr.example"},
		},
	}
	n.srv = map[string][]SRV{
		"_sips._tcp.naptr.example": {{1, 0, 5061, "a.example."}},
		"_sip._tcp.naptr.example":  {{1, 0, 5062, "a.example."}},
		"_sip._udp.srv.example":    {{20, 0, 5070, "b.example."}, {10, 0, 5060, "a.example."}},
		"_sip._tcp.srv.example":    {{10, 0, 5090, "b.example."}},
		"_sip._tcp.tcp.example":    {{10, 0, 5091, "a.example."}},
		"_sip._udp.none.example":   {{0, 0, 0, "."}},
		"_sip._udp.big.example":    {{1, 30, 1, "a.example"}, {1, 10, 2, "a.example"}, {1, 60, 3, "a.example"}, {0, 0, 9, "a.example"}},
	}
	n.ip = map[string][]netip.Addr{
		"a.example":     ips("10.1.0.1"),
		"b.example":     ips("10.1.0.2", "2001:db8::2"),
		"multi.example": ips("10.1.0.1", "10.1.0.2", "10.1.0.3"),
		"none.example":  ips("10.1.0.9"),
	}
	return n
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ uri, want, asked string }{
		{"sip:u@192.0.2.1", "udp:192.0.2.1:5060", ""},
		{"sip:u@192.0.2.1:5070;transport=tcp", "tcp:192.0.2.1:5070", ""},
		{"sips:u@192.0.2.1", "tls:192.0.2.1:5061", ""},
		{"sips:u@192.0.2.1;transport=tcp", "tls:192.0.2.1:5061", ""},
		{"sips:u@192.0.2.1;transport=udp", "", ""},
		{"sip:u@[2001:db8::1]:5080", "udp:[2001:db8::1]:5080", ""},
		{"sip:u@a.example;maddr=192.0.2.7", "udp:192.0.2.7:5060", ""},
		{"sip:u@a.example;transport=quic", "", ""},
		{"tel:+123", "", ""},
		{"sip:u@a.example:5070", "udp:10.1.0.1:5070", "IP a.example"},
		{"sip:u@A.Example.:5070", "udp:10.1.0.1:5070", "IP a.example"},
		{"sips:u@a.example:5070", "tls:10.1.0.1:5070", "IP a.example"},
		{"sip:u@a.example;transport=tls", "tls:10.1.0.1:5061", "SRV _sips._tcp.a.example,IP a.example"},
		{"sip:u@naptr.example", "tls:10.1.0.1:5061", "NAPTR naptr.example,SRV _sips._tcp.naptr.example,IP a.example"},
		{"sip:u@naptr.example;transport=tcp", "tcp:10.1.0.1:5062", "SRV _sip._tcp.naptr.example,IP a.example"},
		{"sips:u@naptr.example", "tls:10.1.0.1:5061", "NAPTR naptr.example,SRV _sips._tcp.naptr.example,IP a.example"},
		{"sip:u@srv.example", "udp:10.1.0.1:5060,udp:10.1.0.2:5070", "NAPTR srv.example,SRV _sip._udp.srv.example,IP a.example,IP b.example"},
		{"sip:u@tcp.example", "tcp:10.1.0.1:5091", "NAPTR tcp.example,SRV _sip._udp.tcp.example,SRV _sip._tcp.tcp.example,IP a.example"},
		{"sip:u@a.example", "udp:10.1.0.1:5060", "NAPTR a.example,SRV _sip._udp.a.example,SRV _sip._tcp.a.example,SRV _sips._tcp.a.example,IP a.example"},
		{"sips:u@a.example", "tls:10.1.0.1:5061", "NAPTR a.example,SRV _sips._tcp.a.example,IP a.example"},
		{"sip:u@none.example;transport=udp", "", "SRV _sip._udp.none.example"},
		{"sip:u@unknown.example:1", "", "IP unknown.example"},
	} {
		t.Run(c.uri, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := exampleNet()
				l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060", "tcp:10.0.0.1:5060")
				q := QueryFor(sip.MustParseURI(c.uri))
				got, err := l.Resolve(t.Context(), q)
				require.Equal(t, c.want == "", err != nil)
				if err != nil {
					require.ErrorIs(t, err, ErrNoAddress)
				}
				require.Equal(t, c.want, addrList(got))
				require.Equal(t, c.asked, strings.Join(n.asked(), ","))
				for _, a := range got {
					if c.asked != "" {
						require.Equal(t, strings.TrimSuffix(q.Host, "."), a.Name)
					}
				}
				now, ok := l.ResolveNow(nil, q)
				require.True(t, ok, "cached")
				require.Equal(t, c.want, addrList(now))
				require.Empty(t, n.asked())
				require.NoError(t, l.Close())
			})
		})
	}
}

func addrList(a []Addr) string {
	var s []string
	for _, x := range a {
		s = append(s, x.String())
	}
	return strings.Join(s, ",")
}

func TestResolveFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060", "udp:[2001:db8::1]:5060")
		got, err := l.Resolve(t.Context(), Query{Host: "b.example", Port: 5060})
		require.NoError(t, err)
		require.Equal(t, "udp:10.1.0.2:5060,udp:[2001:db8::2]:5060", addrList(got))
		require.NoError(t, l.Close())
	})
}

func TestResolveCacheAndSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		n.lookupDelay = time.Second
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		q := Query{Host: "a.example", Port: 5060}
		_, ok := l.ResolveNow(nil, q)
		require.False(t, ok)
		done := make(chan []Addr)
		for range 20 {
			go func() {
				a, err := l.Resolve(context.Background(), q)
				if err != nil {
					a = nil
				}
				done <- a
			}()
		}
		for range 20 {
			require.Len(t, <-done, 1)
		}
		require.Len(t, n.asked(), 1, "one question for all")
		time.Sleep(n.ttl - time.Second)
		_, ok = l.ResolveNow(nil, q)
		require.True(t, ok)
		time.Sleep(time.Second)
		_, ok = l.ResolveNow(nil, q)
		require.False(t, ok, "expired")

		q.Host = "unknown.example"
		_, err := l.Resolve(t.Context(), q)
		require.ErrorIs(t, err, ErrNoAddress)
		a, ok := l.ResolveNow(nil, q)
		require.True(t, ok)
		require.Empty(t, a)
		time.Sleep(ttlNegative)
		_, ok = l.ResolveNow(nil, q)
		require.False(t, ok, "kept for a short time only")
		require.NoError(t, l.Close())
	})
}

func TestResolveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		n.lookupDelay = time.Hour
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		start := time.Now()
		_, err := l.Resolve(t.Context(), Query{Host: "a.example"})
		require.ErrorIs(t, err, ErrNoAddress)
		require.Equal(t, 5*time.Second, time.Since(start))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		start = time.Now()
		_, err = l.Resolve(ctx, Query{Host: "b.example"})
		require.ErrorIs(t, err, ErrNoAddress)
		require.Equal(t, time.Second, time.Since(start), "the caller's patience, not the question's")
		require.NoError(t, l.Close())
	})
}

func TestResolveDNSFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		n.lookupError = errors.New("server failure")
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		q := Query{Host: "a.example", Port: 5060}
		_, err := l.Resolve(t.Context(), q)
		require.ErrorIs(t, err, ErrNoAddress)
		_, ok := l.ResolveNow(nil, q)
		require.True(t, ok, "not asked again at once")
		n.lookupError = nil
		time.Sleep(ttlMin)
		got, err := l.Resolve(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.NoError(t, l.Close())
	})
}

func TestResolveHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		n.ttl = time.Hour
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		q := Query{Host: "multi.example", Port: 5060}
		order := func() string {
			a, err := l.Resolve(t.Context(), q)
			require.NoError(t, err)
			return addrList(a)
		}
		require.Equal(t, "udp:10.1.0.1:5060,udp:10.1.0.2:5060,udp:10.1.0.3:5060", order())
		l.Report(addr(t, "udp:10.1.0.1:5060"), false)
		require.Equal(t, "udp:10.1.0.2:5060,udp:10.1.0.3:5060,udp:10.1.0.1:5060", order())
		l.Report(addr(t, "udp:10.1.0.2:5060"), false)
		require.Equal(t, "udp:10.1.0.3:5060,udp:10.1.0.1:5060,udp:10.1.0.2:5060", order())
		l.Report(addr(t, "udp:10.1.0.1:5060"), true)
		require.Equal(t, "udp:10.1.0.1:5060,udp:10.1.0.3:5060,udp:10.1.0.2:5060", order())
		time.Sleep(healthMemory)
		require.Equal(t, "udp:10.1.0.1:5060,udp:10.1.0.2:5060,udp:10.1.0.3:5060", order())
		for i := range 2 * healthMax {
			l.Report(Addr{Proto: UDP, AddrPort: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), uint16(i))}, false)
		}
		require.LessOrEqual(t, len(l.resolver.health.failed), healthMax)
		require.NoError(t, l.Close())
	})
}

func TestResolveByHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := exampleNet()
		l, _ := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		first := map[string]int{}
		for h := uint64(1); h <= 3000; h++ {
			q := Query{Host: "multi.example", Port: 5060, Hash: h}
			a, err := l.Resolve(t.Context(), q)
			require.NoError(t, err)
			slices.Reverse(n.ip["multi.example"]) // the DNS rotates; that changes nothing
			b, _ := l.ResolveNow(nil, q)
			require.Equal(t, a, b)
			first[a[0].String()]++
		}
		require.Len(t, first, 3)
		for _, k := range first {
			require.InDelta(t, 1000, k, 150)
		}
		require.NoError(t, l.Close())
	})
}

func TestSRVWeights(t *testing.T) {
	records := exampleNet().srv["_sip._udp.big.example"]
	for name, hash := range map[string]func(int) uint64{
		"chance": func(int) uint64 { return 0 },
		"hash":   func(i int) uint64 { return uint64(i) + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			second := map[uint16]int{}
			for i := range 10000 {
				out := srvOrder(records, hash(i))
				require.Len(t, out, len(records))
				require.EqualValues(t, 9, out[0].Port, "the lowest priority first")
				second[out[1].Port]++
				if h := hash(i); h != 0 {
					back := slices.Clone(records)
					slices.Reverse(back)
					require.Equal(t, out, srvOrder(back, h))
				}
			}
			require.InDelta(t, 6000, second[3], 400)
			require.InDelta(t, 3000, second[1], 400)
			require.InDelta(t, 1000, second[2], 300)
		})
	}
	zero := srvOrder([]SRV{{1, 0, 1, "a"}, {1, 0, 2, "b"}}, 5)
	require.Len(t, zero, 2)
}

func TestResolveNowAllocatesNothingForLiterals(t *testing.T) {
	l := New(Config{Net: newMemNet()})
	defer func() { require.NoError(t, l.Close()) }()
	dst := make([]Addr, 0, 4)
	q := Query{Host: "192.0.2.1", Port: 5060, Proto: UDP}
	require.Zero(t, testing.AllocsPerRun(100, func() { dst, _ = l.ResolveNow(dst, q) }))
}

// A DNS server that is slow, or silent, is asked by so many at a time; the others wait for their turn as long as for an answer.
func TestLookupsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		n.lookupDelay = time.Second
		n.ip = map[string][]netip.Addr{}
		for i := range 9 {
			n.ip[fmt.Sprintf("h%d.example", i)] = ips("10.1.0.1")
		}
		l, _ := layer(t, Config{Net: n, Lookups: 2, ResolveTimeout: 5 * time.Second}, "udp:10.0.0.1:5060")
		var found, none atomic.Int32
		resolve := func(i int) {
			if _, err := l.Resolve(t.Context(), Query{Host: fmt.Sprintf("h%d.example", i), Port: 5060, Proto: UDP}); err == nil {
				found.Add(1)
			} else {
				none.Add(1)
			}
		}
		for i := range 4 {
			go resolve(i)
		}
		for i := range 2 {
			synctest.Wait()
			require.Len(t, n.asked(), 2)
			require.EqualValues(t, 2*i, found.Load())
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.EqualValues(t, 4, found.Load())

		for range 2 { // two that are never answered
			l.resolver.places <- struct{}{}
		}
		for i := 4; i < 7; i++ {
			go resolve(i)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Empty(t, n.asked())
		require.EqualValues(t, 3, none.Load())
		require.EqualValues(t, 3, l.Stats().LookupsRefused)
		l.resolver.leave()
		resolve(4)
		require.EqualValues(t, 5, found.Load(), "asked once there is room")
	})
}
