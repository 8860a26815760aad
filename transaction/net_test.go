package transaction_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A node is a transport with a transaction layer on top.
type node struct {
	tr    *transport.Layer
	tx    *transaction.Layer
	serve func(*transaction.Server)

	mu    sync.Mutex
	codes []int
	errs  []error
	acks  int
}

func newNode(t *testing.T, n transport.Net, ip string) *node {
	t.Helper()
	d := &node{}
	d.tr = transport.New(transport.Config{Net: n, Handler: d})
	d.tx = transaction.New(transaction.Config{Transport: d.tr})
	require.NoError(t, d.tr.Listen(context.Background(), "udp:"+ip+":5060", "tcp:"+ip+":5060"))
	d.tr.Start()
	return d
}

func (d *node) close() {
	d.tx.Close()
	_ = d.tr.Close()
}

func (d *node) ServeMessage(m sip.Message, f transport.Flow) {
	switch m := m.(type) {
	case *sip.Response:
		d.tx.MatchResponse(m, f)
	case *sip.Request:
		tx, absorbed := d.tx.MatchRequest(m, f)
		switch {
		case m.Method == sip.ACK:
			d.mu.Lock()
			d.acks++
			d.mu.Unlock()
		case absorbed:
		case m.Method == sip.CANCEL && tx != nil:
			s, err := d.tx.NewServer(m, f, nil)
			if err == nil {
				_ = s.Respond(sip.NewResponse(m, 200, "", "b"))
				_ = tx.Respond(sip.NewResponse(tx.Request(), 487, "", "b"))
			}
		default:
			if s, err := d.tx.NewServer(m, f, nil); err == nil {
				d.serve(s)
			}
		}
	}
}

func (d *node) ServeUnreachable(sent []byte, to transport.Addr, err error) {
	d.tx.Unreachable(sent, to, err)
}
func (d *node) Stalled() {}

func (d *node) Response(_ *transaction.Client, res *sip.Response, _ transport.Flow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.codes = append(d.codes, res.Code)
}

func (d *node) Ended(_ *transaction.Client, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs = append(d.errs, err)
}

func (d *node) told() ([]int, []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	codes, errs := d.codes, d.errs
	d.codes, d.errs = nil, nil
	return codes, errs
}

// send opens a client transaction to the other node.
func (d *node) send(t *testing.T, proto, method string) *transaction.Client {
	t.Helper()
	p, _ := transport.ParseProto(proto)
	f, err := d.tr.FlowTo(transport.Addr{Proto: p, AddrPort: netip.MustParseAddrPort("192.0.2.2:5060")}, transport.Flow{})
	require.NoError(t, err)
	req := sip.NewRequest(sip.Method(method), sip.MustParseURI("sip:bob@192.0.2.2"))
	host, port := f.SentBy()
	req.PushVia(sip.Via{Protocol: "SIP/2.0", Transport: p.ViaName(), Host: host, Port: port, Params: sip.Params(";branch=" + transaction.NewBranch())})
	req.Add("Max-Forwards", "70")
	req.Add("From", "<sip:alice@192.0.2.1>;tag="+transaction.NewTag())
	req.Add("To", "<sip:bob@192.0.2.2>")
	req.Add("Call-ID", transaction.NewTag())
	req.Add("CSeq", "1 "+method)
	c, err := d.tx.Request(req, f, d)
	require.NoError(t, err)
	return c
}

func answer(codes ...int) func(*transaction.Server) {
	return func(s *transaction.Server) {
		req := s.Request()
		for _, code := range codes {
			_ = s.Respond(sip.NewResponse(req, code, "", "b"))
		}
	}
}

// between runs f with two nodes on a network in virtual time.
func between(t *testing.T, f func(t *testing.T, n *siptest.Network, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		n := &siptest.Network{T: t}
		a := newNode(t, n.Host("192.0.2.1"), "192.0.2.1")
		b := newNode(t, n.Host("192.0.2.2"), "192.0.2.2")
		f(t, n, a, b)
		a.close()
		b.close()
	})
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOverTheWire(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			between(t, func(t *testing.T, _ *siptest.Network, a, b *node) {
				b.serve = answer(100, 180, 486)
				a.send(t, proto, "INVITE")
				wait(time.Second)
				codes, errs := a.told()
				require.Equal(t, []int{100, 180, 486}, codes)
				require.Empty(t, errs)
				require.Equal(t, 1, b.acks)
				if proto == "tcp" {
					require.Zero(t, a.tx.Stats().Clients)
					require.Zero(t, b.tx.Stats().Servers)
				}

				b.serve = answer(200)
				a.send(t, proto, "OPTIONS")
				a.send(t, proto, "INVITE")
				wait(time.Second)
				codes, _ = a.told()
				require.Equal(t, []int{200, 200}, codes)

				b.serve = answer(180)
				c := a.send(t, proto, "INVITE")
				wait(time.Second)
				c.Cancel("")
				wait(time.Second)
				codes, errs = a.told()
				require.Equal(t, []int{180, 487}, codes)
				require.Empty(t, errs)

				wait(40 * time.Second)
				require.Zero(t, a.tx.Stats().Clients)
				require.Zero(t, b.tx.Stats().Servers)
				require.Zero(t, a.tx.Stats().Stray+b.tx.Stats().Stray)
			})
		})
	}
}

func TestOverLossyWire(t *testing.T) {
	between(t, func(t *testing.T, n *siptest.Network, a, b *node) {
		var mu sync.Mutex
		served := 0
		b.serve = func(s *transaction.Server) {
			mu.Lock()
			served++
			mu.Unlock()
			answer(486)(s)
		}
		n.SetLink("", "", siptest.Link{Delay: 30 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.4, Duplicate: 0.4})
		const calls = 50
		for i := range calls {
			a.send(t, "udp", []string{"INVITE", "MESSAGE"}[i%2])
		}
		wait(2 * time.Minute)
		codes, errs := a.told()
		require.Equal(t, calls, len(codes)+len(errs))
		require.Less(t, len(errs), 5, "10 copies of which 36 of 100 make it both ways")
		require.LessOrEqual(t, served, calls)
		require.Zero(t, a.tx.Stats().Clients)
		require.Zero(t, b.tx.Stats().Servers)
	})
}

func TestRefusedConnection(t *testing.T) {
	between(t, func(t *testing.T, n *siptest.Network, a, b *node) {
		b.close()
		start := time.Now()
		for _, method := range []string{"INVITE", "OPTIONS"} {
			a.send(t, "tcp", method)
			wait(time.Second)
			_, errs := a.told()
			require.Len(t, errs, 1)
			require.ErrorIs(t, errs[0], transaction.ErrTransport)
			require.Zero(t, a.tx.Stats().Clients)
		}
		require.Less(t, time.Since(start), 3*time.Second)
	})
}

func TestResetConnection(t *testing.T) {
	between(t, func(t *testing.T, n *siptest.Network, a, b *node) {
		for _, tc := range []struct {
			method string
			codes  []int
			ended  bool
		}{{"INVITE", nil, true}, {"INVITE", []int{180}, false}, {"INFO", nil, true}, {"INFO", []int{100}, true}} {
			var open *transaction.Server
			b.serve = func(s *transaction.Server) {
				open = s
				answer(tc.codes...)(s)
			}
			a.send(t, "tcp", tc.method)
			wait(time.Second)
			req := open.Request()
			n.Reset("")
			wait(time.Second)
			_, errs := a.told()
			require.Equal(t, tc.ended, len(errs) == 1, "%s %v: %v", tc.method, tc.codes, errs)
			if tc.ended {
				require.ErrorIs(t, errs[0], transaction.ErrTransport)
				require.False(t, errors.Is(errs[0], transaction.ErrTimeout))
				continue
			}
			// The response comes over another connection (§18.2.2).
			require.NoError(t, open.Respond(sip.NewResponse(req, 200, "", "b")))
			wait(time.Second)
			codes, _ := a.told()
			require.Equal(t, []int{200}, codes)
		}
	})
}

// A gone is a ClientUser that passes on how its transaction ended.
type gone chan error

func (gone) Response(*transaction.Client, *sip.Response, transport.Flow) {}
func (g gone) Ended(_ *transaction.Client, err error)                    { g <- err }

// TestPortUnreachable sends to a port of the real loopback where nobody listens:
// the ICMP error ends the transaction long before timer F.
func TestPortUnreachable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads the error queue of Linux sockets")
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	to := netip.MustParseAddrPort(closed.LocalAddr().String())
	require.NoError(t, closed.Close())

	d := &node{}
	d.tr = transport.New(transport.Config{Handler: d})
	d.tx = transaction.New(transaction.Config{Transport: d.tr})
	require.NoError(t, d.tr.Listen(context.Background(), "udp:127.0.0.1:0"))
	d.tr.Start()
	defer d.close()
	f, err := d.tr.FlowTo(transport.Addr{Proto: transport.UDP, AddrPort: to}, transport.Flow{})
	require.NoError(t, err)
	req, err := sip.ParseRequest("OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=" + transaction.NewBranch() +
		"\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	require.NoError(t, err)
	ended := make(gone, 1)
	_, err = d.tx.Request(req, f, ended)
	require.NoError(t, err)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, transaction.ErrTransport)
		require.ErrorIs(t, err, transport.ErrUnreachable)
	case <-time.After(10 * time.Second):
		t.Fatal("no ICMP error heard of")
	}
	require.Zero(t, d.tx.Stats().Clients)
}
