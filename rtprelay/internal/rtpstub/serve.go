package rtpstub

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
)

// Cookies answers datagrams, from a cache when the cookie is known.
type Cookies struct {
	Do func(command string) string

	mu    sync.Mutex
	cache map[string]string
}

// Datagram gives the reply, or false for none (the command was answered with "-").
func (c *Cookies) Datagram(in string) (string, bool) {
	text := strings.TrimRight(in, "\r\n")
	i := strings.IndexAny(text, " \t")
	if text == "" {
		return "E5\n", true
	}
	if i < 0 {
		return text + " E5\n", true
	}
	cookie := text[:i]
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.cache[cookie]; ok {
		return old, true
	}
	reply := c.Do(strings.Trim(text[i:], " \t"))
	if reply == "-" {
		return "", false
	}
	full := cookie + " " + reply + "\n"
	if c.cache == nil {
		c.cache = map[string]string{}
	}
	c.cache[cookie] = full
	return full, true
}

// Network decides what happens to a datagram: how many copies arrive.
type Network func(toRelay bool, datagram string) int

// ServeUDP answers until pc is closed.
func (r *Relay) ServeUDP(pc net.PacketConn, n Network) {
	c := &Cookies{Do: r.Do}
	buf := make([]byte, 65536)
	for {
		k, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		in, times := string(buf[:k]), 1
		if n != nil {
			times = n(true, in)
		}
		for range times {
			out, ok := c.Datagram(in)
			if !ok {
				continue
			}
			copies := 1
			if n != nil {
				copies = n(false, out)
			}
			for range copies {
				_, _ = pc.WriteTo([]byte(out), from)
			}
		}
	}
}

// ServeStream answers connections until l is closed: one command each, or many with their replies in order. "-" answers nothing and "!" closes.
func (r *Relay) ServeStream(l net.Listener, oneShot bool) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go r.ServeConn(c, oneShot)
	}
}

// ServeConn serves one connection.
func (r *Relay) ServeConn(c net.Conn, oneShot bool) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil && line == "" {
			return
		}
		reply := r.Do(strings.TrimSpace(line))
		switch {
		case reply == "!":
			return
		case reply != "-":
			if _, err := io.WriteString(c, reply+"\n"); err != nil {
				return
			}
		}
		if oneShot && reply != "-" {
			return
		}
	}
}
