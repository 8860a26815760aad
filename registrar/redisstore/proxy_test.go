package redisstore

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A proxy is a bad network on the way to a server.
type proxy struct {
	net.Listener
	target atomic.Pointer[string]
	delay  atomic.Int64 // of what the server answers
	silent atomic.Bool  // connections that come are taken, and no more
	mu     sync.Mutex
	links  []*link
}

type link struct {
	client, server net.Conn
	subscribed     atomic.Bool
	frozen         atomic.Bool // half open: what comes goes nowhere, and nobody is told
}

func startProxy(t testing.TB, srv *server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{Listener: l}
	p.lead(srv)
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close()
		p.each(func(l *link) { l.close() })
	})
	return p
}

// lead is where connections go that are made from now on.
func (p *proxy) lead(srv *server) {
	addr := srv.addr()
	p.target.Store(&addr)
}

func (p *proxy) accept() {
	for {
		c, err := p.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", *p.target.Load())
		if err != nil {
			_ = c.Close()
			continue
		}
		l := &link{client: c, server: s}
		l.frozen.Store(p.silent.Load())
		p.mu.Lock()
		p.links = append(p.links, l)
		p.mu.Unlock()
		go p.copy(l, s, c, nil)
		go p.copy(l, c, s, &p.delay)
	}
}

func (p *proxy) copy(l *link, to, from net.Conn, delay *atomic.Int64) {
	defer l.close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte("subscribe")) {
			l.subscribed.Store(true)
		}
		if delay != nil {
			time.Sleep(time.Duration(delay.Load()))
		}
		if l.frozen.Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

func (p *proxy) each(f func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		f(l)
	}
}

// freeze makes those half open that there are.
func (p *proxy) freeze() { p.each(func(l *link) { l.frozen.Store(true) }) }

func (p *proxy) freezeSubscriptions() {
	p.each(func(l *link) { l.frozen.Store(l.subscribed.Load()) })
}

func (p *proxy) closeCommands() {
	p.each(func(l *link) {
		if !l.subscribed.Load() {
			l.close()
		}
	})
}

// open makes a Store behind the proxy.
func (p *proxy) open(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Options.Addrs = []string{p.Addr().String()}
	s := open(t, cfg)
	waitFor(t, func() bool { return s.Stats().Connected })
	return s
}
