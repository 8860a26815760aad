package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

// perform plays one experiment with a fresh proxy and fresh phones. The ladder holds what was sent, also when something failed.
func perform(e experiment) (*siptest.Ladder, error) {
	ladder := &siptest.Ladder{Width: 40}
	failed := new(reporter)
	phones := new(sync.Map) // number: address
	server := &sipproxy.Server{
		Listen:  []string{"udp:127.0.0.1:0"},
		Handler: e.chain.Then(route(phones)),
		Accept:  func(*sipproxy.Request) sipproxy.Mode { return e.mode },
		Drain:   -1,
		Tap: func(p transport.Packet) {
			if p.Out { // the phones tell the rest
				ladder.Tap(p)
			}
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	select {
	case <-server.Ready():
	case err := <-ended:
		stop()
		return ladder, err
	}
	proxy := server.Addrs()[0].AddrPort.String()

	done := make(chan struct{})
	go func() { // on a goroutine of its own, which Fatalf can end
		defer close(done)
		a, b := phone(failed, ladder, "308", proxy), phone(failed, ladder, "309", proxy)
		defer a.Close()
		defer b.Close()
		phones.Store("308", a.Addr().String())
		phones.Store("309", b.Addr().String())
		ladder.Column("phone 308", a.Addr().String())
		ladder.Column("proxy", proxy)
		ladder.Column("phone 309", b.Addr().String())
		e.play(failed, a, b)
		time.Sleep(50 * time.Millisecond) // whatever else is on its way
	}()
	<-done
	stop()
	return ladder, errors.Join(failed.err(), <-ended)
}

func phone(t siptest.T, ladder *siptest.Ladder, name, proxy string) *siptest.Phone {
	p := &siptest.Phone{
		T: t, Net: watched{ladder: ladder}, Name: name, Listen: "127.0.0.1:0", Proxy: proxy,
		AOR: "sip:" + name + "@" + proxy, Wait: 10 * time.Second,
	}
	p.Start()
	return p
}

// watched is the real network with a ladder that sees every datagram sent.
type watched struct {
	transport.SystemNet
	ladder *siptest.Ladder
}

func (n watched) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := n.SystemNet.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return watchedConn{c, n.ladder}, nil
}

type watchedConn struct {
	net.PacketConn
	ladder *siptest.Ladder
}

func (c watchedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.ladder.Add(siptest.Arrow{Time: time.Now(), From: addrPort(c.LocalAddr()), To: addrPort(to), Text: string(b)})
	return c.PacketConn.WriteTo(b, to)
}

func addrPort(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String())
	return p
}

// A reporter collects what the phones find wrong.
type reporter struct {
	mu   sync.Mutex
	errs []error
}

func (r *reporter) Helper() {}

func (r *reporter) Logf(string, ...any) {}

func (r *reporter) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *reporter) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *reporter) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}
