package siptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

func udp(t *testing.T, h transport.Net, at string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(context.Background(), "udp", at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func addr(s string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func send(t *testing.T, c net.PacketConn, to string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		_, err := c.WriteTo([]byte(s), addr(to))
		require.NoError(t, err)
	}
}

// receive reads datagrams until none comes for a minute.
func receive(t *testing.T, c net.PacketConn) (texts []string) {
	t.Helper()
	b := make([]byte, 2000)
	for {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		n, _, err := c.ReadFrom(b)
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return texts
		}
		texts = append(texts, string(b[:n]))
	}
}

func numbers(n int) (s []string) {
	for i := range n {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func TestDatagramsArriveInOrderAfterTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		a, b := udp(t, n.Host("192.0.2.1"), "192.0.2.1:5060"), udp(t, n.Host("192.0.2.2"), ":5060")
		n.SetLink("", "", siptest.Link{Delay: 30 * time.Millisecond, Jitter: 50 * time.Millisecond})
		start := time.Now()
		send(t, a, "192.0.2.2:5060", numbers(50)...)
		buf := make([]byte, 10)
		_, from, err := b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "192.0.2.1:5060", from.String())
		require.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)
		require.Equal(t, numbers(50)[1:], receive(t, b))
		_, err = b.WriteTo([]byte("back"), from)
		require.NoError(t, err)
		require.Equal(t, []string{"back"}, receive(t, a))
	})
}

func TestLossIsRepeatable(t *testing.T) {
	run := func(seed uint64) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			n := &siptest.Network{Seed: seed}
			n.SetLink("192.0.2.1", "", siptest.Link{Loss: 0.3, Duplicate: 0.1})
			a, b := udp(t, n.Host("192.0.2.1"), ":5060"), udp(t, n.Host("192.0.2.2"), ":5060")
			send(t, a, "192.0.2.2:5060", numbers(200)...)
			got = receive(t, b)
		})
		return got
	}
	first := run(1)
	require.Greater(t, len(first), 120)
	require.Less(t, len(first), 190)
	require.Equal(t, first, run(1))
	require.NotEqual(t, first, run(2))
}

func TestDuplicatesArriveTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		n.SetLink("", "", siptest.Link{Duplicate: 1})
		a, b := udp(t, n.Host("192.0.2.1"), ":5060"), udp(t, n.Host("192.0.2.2"), ":5060")
		send(t, a, "192.0.2.2:5060", "x", "y")
		require.Equal(t, []string{"x", "x", "y", "y"}, receive(t, b))
	})
}

func TestReorderedDatagramsComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		n.SetLink("", "192.0.2.2", siptest.Link{Reorder: 0.2})
		a, b := udp(t, n.Host("192.0.2.1"), ":5060"), udp(t, n.Host("192.0.2.2"), ":5060")
		send(t, a, "192.0.2.2:5060", numbers(50)...)
		got := receive(t, b)
		require.ElementsMatch(t, numbers(50), got)
		require.NotEqual(t, numbers(50), got)
	})
}

func TestDropPartitionAndTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		var fates []string
		n.Tap(func(p siptest.Packet) { fates = append(fates, fmt.Sprintf("%d %s %s", p.N, p.Data, p.Lost)) })
		a, b := udp(t, n.Host("192.0.2.1"), ":5060"), udp(t, n.Host("192.0.2.2"), ":5060")
		n.SetLink("", "", siptest.Link{Drop: func(p siptest.Packet) bool { return string(p.Data) == "bad" }})
		send(t, a, "192.0.2.2:5060", "good", "bad")
		n.Partition("192.0.2.2")
		send(t, a, "192.0.2.2:5060", "cut")
		n.Heal()
		send(t, a, "192.0.2.2:5061", "nobody")
		send(t, a, "192.0.2.3:5060", "nowhere")
		send(t, a, "192.0.2.2:5060", "last")
		require.Equal(t, []string{"good", "last"}, receive(t, b))
		require.Equal(t, []string{
			"1 good ", "2 bad lost", "3 cut cut off", "4 nobody port unreachable", "5 nowhere no such host", "6 last ",
		}, fates)
	})
}

func TestICMP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{ICMP: true}
		a := udp(t, n.Host("192.0.2.1"), ":5060")
		n.Host("192.0.2.2")
		send(t, a, "192.0.2.2:9", "hello")
		_, _, err := a.ReadFrom(make([]byte, 10))
		require.ErrorIs(t, err, transport.ErrUnreachable)
		var u *transport.UnreachableError
		require.True(t, errors.As(err, &u))
		require.Equal(t, "192.0.2.2:9", u.To.String())
		require.Equal(t, "hello", string(u.Sent))
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		h := n.Host("192.0.2.1", "2001:db8::1")
		ctx := context.Background()
		_, err := h.ListenPacket(ctx, "udp", "192.0.2.9:5060")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		udp(t, h, "192.0.2.1:5060")
		_, err = h.ListenPacket(ctx, "udp", "192.0.2.1:5060")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		six := udp(t, h, "[2001:db8::1]:0")
		require.NotContains(t, six.LocalAddr().String(), "]:0")
		four := udp(t, n, "198.51.100.1:5060")
		_, err = four.WriteTo(nil, addr("[2001:db8::1]:5060"))
		require.ErrorIs(t, err, syscall.EAFNOSUPPORT)
		_, err = h.Dial(ctx, "tcp", "", "192.0.2.1:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = h.Dial(ctx, "tcp", "", "192.0.2.99:1")
		require.ErrorIs(t, err, syscall.EHOSTUNREACH)
		_, err = h.Dial(ctx, "tcp", "192.0.2.98", "192.0.2.1:1")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	})
}

// pair connects 192.0.2.1 to 192.0.2.2.
func pair(t *testing.T, n *siptest.Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Host("192.0.2.2").Listen(context.Background(), "tcp", "192.0.2.2:5060")
	require.NoError(t, err)
	near, err = n.Host("192.0.2.1").Dial(context.Background(), "tcp", "", "192.0.2.2:5060")
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = near.Close(), far.Close(), l.Close() })
	return near, far
}

func TestConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{StreamBuffer: 10}
		n.SetLink("", "", siptest.Link{Delay: 10 * time.Millisecond})
		start := time.Now()
		near, far := pair(t, n)
		require.Equal(t, 20*time.Millisecond, time.Since(start))
		require.Equal(t, near.LocalAddr(), far.RemoteAddr())
		text := strings.Repeat("0123456789", 10)
		go func() {
			_, err := io.WriteString(near, text)
			if err == nil {
				err = near.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}()
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		_, err = far.Write([]byte("x"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = far.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestConnectionDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{StreamBuffer: 10}
		near, far := pair(t, n)
		start := time.Now()
		require.NoError(t, near.SetDeadline(start.Add(time.Second)))
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, near.SetDeadline(start.Add(2*time.Second)))
		sent, err := near.Write(make([]byte, 11))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 10, sent)
		require.NoError(t, near.SetDeadline(time.Time{}))
		_, err = far.Read(make([]byte, 5))
		require.NoError(t, err)
		_, err = near.Write(make([]byte, 5))
		require.NoError(t, err)
	})
}

func TestPartitionHoldsStreamsAndDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		near, far := pair(t, n)
		n.Partition("192.0.2.2")
		start := time.Now()
		for _, s := range []string{"a", "b", "c"} {
			_, err := io.WriteString(near, s)
			require.NoError(t, err)
		}
		require.NoError(t, far.SetReadDeadline(time.Now().Add(time.Second)))
		_, err := far.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, far.SetReadDeadline(time.Time{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.Host("192.0.2.1").Dial(ctx, "tcp", "", "192.0.2.2:5060")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		time.AfterFunc(4*time.Second, func() { n.Heal("192.0.2.2") })
		late, err := n.Host("192.0.2.1").Dial(t.Context(), "tcp", "", "192.0.2.2:5060")
		require.NoError(t, err)
		defer late.Close() //nolint:errcheck // end of test
		require.Equal(t, 6*time.Second, time.Since(start))
		b := make([]byte, 10)
		m, err := far.Read(b)
		require.NoError(t, err)
		require.Equal(t, "abc", string(b[:m]))
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		near, far := pair(t, n)
		time.AfterFunc(time.Second, func() { n.Reset("192.0.2.1") })
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = far.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		phone := udp(t, n.NAT(siptest.NAT{Public: "203.0.113.1"}).Host("10.0.0.5"), ":5060")
		other := udp(t, n.NAT(siptest.NAT{Public: "203.0.113.2", Symmetric: true}).Host("10.0.0.5"), ":5060")
		server, stranger := udp(t, n.Host("192.0.2.1"), ":5060"), udp(t, n.Host("192.0.2.2"), ":5060")

		mapped := func(from net.PacketConn, at net.PacketConn, to string) string {
			send(t, from, to, "hello")
			_, a, err := at.ReadFrom(make([]byte, 10))
			require.NoError(t, err)
			return a.String()
		}
		cone := mapped(phone, server, "192.0.2.1:5060")
		require.Equal(t, "203.0.113.1:40001", cone)
		send(t, stranger, cone, "unsolicited")
		send(t, server, cone, "answer")
		require.Equal(t, []string{"answer"}, receive(t, phone)) // a minute passes: the mapping is gone
		send(t, server, cone, "late")
		require.Empty(t, receive(t, phone))

		cone = mapped(phone, server, "192.0.2.1:5060")
		require.Equal(t, "203.0.113.1:40002", cone)
		require.Equal(t, cone, mapped(phone, stranger, "192.0.2.2:5060"))
		require.NotEqual(t, mapped(other, server, "192.0.2.1:5060"), mapped(other, stranger, "192.0.2.2:5060"))
	})
}

func TestNATForgetsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		box := n.NAT(siptest.NAT{Public: "203.0.113.1", Idle: time.Minute})
		l, err := n.Host("192.0.2.1").Listen(t.Context(), "tcp", "192.0.2.1:5060")
		require.NoError(t, err)
		defer l.Close() //nolint:errcheck // end of test
		in, err := box.Host("10.0.0.5").Dial(t.Context(), "tcp", "", "192.0.2.1:5060")
		require.NoError(t, err)
		out, err := l.Accept()
		require.NoError(t, err)
		require.Equal(t, "203.0.113.1:40001", out.RemoteAddr().String())
		require.Contains(t, in.LocalAddr().String(), "10.0.0.5:")
		_, err = io.WriteString(out, "x")
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = io.WriteString(out, "swallowed")
		require.NoError(t, err)
		b := make([]byte, 20)
		m, err := in.Read(b)
		require.NoError(t, err)
		require.Equal(t, "x", string(b[:m]))
		_, err = io.WriteString(in, "y")
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{}
		n.SetDNS(siptest.DNS{
			IP:    map[string][]string{"a.example.com": {"192.0.2.1", "2001:db8::1"}},
			SRV:   map[string][]transport.SRV{"_sip._udp.example.com": {{Priority: 1, Port: 5070, Target: "a.example.com"}}},
			Fail:  map[string]error{"broken.example.com": errors.New("SERVFAIL")},
			Delay: time.Second,
		})
		start := time.Now()
		h := n.Host("192.0.2.7")
		ips, ttl, err := h.LookupIP(t.Context(), "A.example.com.")
		require.NoError(t, err)
		require.Len(t, ips, 2)
		require.Equal(t, time.Hour, ttl)
		require.Equal(t, time.Second, time.Since(start))
		srv, _, err := h.LookupSRV(t.Context(), "_sip._udp.example.com")
		require.NoError(t, err)
		require.EqualValues(t, 5070, srv[0].Port)
		naptr, _, err := h.LookupNAPTR(t.Context(), "example.com")
		require.NoError(t, err)
		require.Empty(t, naptr)
		_, _, err = h.LookupIP(t.Context(), "broken.example.com")
		require.EqualError(t, err, "SERVFAIL")
		require.Equal(t, 4, n.Lookups())
	})
}
