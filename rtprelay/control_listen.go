package rtprelay

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	maxControlConns = 256
	oneShotWait     = 5 * time.Second // for the command on a connection that carries one
)

// listen opens one control socket.
func (c *Control) listen(where string) error {
	kind, addr, _ := strings.Cut(where, ":")
	switch kind {
	case "udp", "udp6":
		conn, err := net.ListenPacket(kind, withPort(addr, "22222"))
		if err != nil {
			return err
		}
		c.opened(conn, conn.LocalAddr())
		c.wg.Go(func() { c.serveUDP(conn.(*net.UDPConn)) })
		return nil
	case "tcp", "tcp6":
		l, err := net.Listen(kind, withPort(addr, "22222"))
		if err != nil {
			return err
		}
		c.serveStreams(l, c.serveLines)
		return nil
	case "unix", "cunix":
		removeStale(addr)
		l, err := net.Listen("unix", addr)
		if err != nil {
			return err
		}
		serve := c.serveOne
		if kind == "cunix" {
			serve = c.serveLines
		}
		c.serveStreams(l, serve)
		return nil
	}
	return fmt.Errorf("want udp:, udp6:, tcp:, tcp6:, unix: or cunix:")
}

// removeStale clears the socket that a killed process left behind; one that is answered stays.
func removeStale(path string) {
	if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeSocket == 0 {
		return
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return
	}
	_ = os.Remove(path)
}

func (c *Control) opened(l interface{ Close() error }, a net.Addr) {
	c.mu.Lock()
	c.closers = append(c.closers, l)
	c.addrs = append(c.addrs, a)
	c.mu.Unlock()
}

// allowed says whether a host may command.
func (c *Control) allowed(a netip.Addr) bool {
	a = a.Unmap()
	if len(c.From) == 0 {
		return a.IsLoopback()
	}
	for _, p := range c.From {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (c *Control) serveUDP(conn *net.UDPConn) {
	b := make([]byte, maxControlLine+1)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if n > maxControlLine || !c.allowed(from.Addr()) {
			c.mu.Lock()
			c.count.refused++
			c.mu.Unlock()
			continue
		}
		_, _ = conn.WriteToUDPAddrPort(c.datagram(b[:n], from.Addr().Unmap(), time.Now()), from)
	}
}

// serveStreams accepts connections, each with a goroutine, up to a limit.
func (c *Control) serveStreams(l net.Listener, serve func(net.Conn)) {
	c.opened(l, l.Addr())
	c.wg.Go(func() {
		var mu sync.Mutex
		open := map[net.Conn]bool{}
		var wg sync.WaitGroup
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				break
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond) // out of descriptors
				continue
			}
			mu.Lock()
			ok := len(open) < maxControlConns && c.allowedConn(conn)
			if ok {
				open[conn] = true
			}
			mu.Unlock()
			if !ok {
				_ = conn.Close()
				continue
			}
			wg.Go(func() {
				serve(conn)
				_ = conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

func (c *Control) allowedConn(conn net.Conn) bool {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	return !ok || c.allowed(a.AddrPort().Addr())
}

// serveOne is the classic UNIX socket: one command, which need not end in a newline, one reply, the end.
func (c *Control) serveOne(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(oneShotWait))
	b := make([]byte, maxControlLine)
	n, err := conn.Read(b)
	if err != nil && n == 0 {
		return
	}
	_, _ = conn.Write(c.command(string(b[:n]), peerOf(conn)))
}

// serveLines is a persistent stream: a command a line, a reply a command, in order.
func (c *Control) serveLines(conn net.Conn) {
	r, peer := bufio.NewReaderSize(conn, maxControlLine), peerOf(conn)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil { // the end, or a line beyond the limit: the framing is lost
			return
		}
		if _, err := conn.Write(c.command(string(line), peer)); err != nil {
			return
		}
	}
}

// peerOf is who commands; invalid over a UNIX socket.
func peerOf(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}
