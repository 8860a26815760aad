package rtprelay

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// notifyTag is what the relay gives back when the session of r times out: four words, blank-free each, quoted together once
// more because the relay unquotes it.
func notifyTag(r Ref) string {
	return url.PathEscape(url.PathEscape(r.CallID) + " " + strconv.Itoa(r.Leg) + " " + url.PathEscape(r.FromTag) + " " + url.PathEscape(r.ToTag))
}

// parseNotifyTag reads what came back.
func parseNotifyTag(s string) (Ref, bool) {
	w := strings.Split(s, " ")
	if len(w) != 4 {
		return Ref{}, false
	}
	var r Ref
	var errs [4]error
	r.CallID, errs[0] = url.PathUnescape(w[0])
	r.Leg, errs[1] = strconv.Atoi(w[1])
	r.FromTag, errs[2] = url.PathUnescape(w[2])
	r.ToTag, errs[3] = url.PathUnescape(w[3])
	return r, errors.Join(errs[:]...) == nil && r.CallID != ""
}

// Notifications listens for the time-outs that engines in other processes report. One listener serves any number of RTPProxies, or of rtpengines. Whoever
// can connect to the socket can end calls: keep it on a UNIX socket or a private network, and see From.
type Notifications struct {
	// Listen is "unix:/path" or "tcp:host:port" for RTPProxies, whose option -n and our RTPProxy.Notify name the same socket; or "http:host:port" for rtpengines,
	// started with --b2b-url=http://host:port/ and --xmlrpc-format=2 (1 will do; 0 does not tell the call).
	Listen string
	From   []netip.Prefix // who may connect over TCP and HTTP; empty: everybody who can

	// OnTimeout is told which session ended, on the goroutine that reads the connection; it must not wait long: see Relay.StreamTimedOut for RTPProxies, which
	// tell a call of several streams once for each, and Relay.TimedOut for rtpengines, which tell it as a whole. FromTag and ToTag are as in the offer
	// from an RTPProxy, ToTag empty when it had none; rtpengines give them in any order, or none.
	OnTimeout func(Ref)

	MaxConnections int // beyond: closed at once; 0: 64

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	closed   bool
	wg       sync.WaitGroup
	odd      uint64
}

// Check reports a mistake in Listen.
func (n *Notifications) Check() error {
	kind, where, _ := strings.Cut(n.Listen, ":")
	if (kind != "unix" && kind != "tcp" && kind != "http") || where == "" {
		return fmt.Errorf("rtprelay: notification address %q: want unix:, tcp: or http:", n.Listen)
	}
	return nil
}

// Start opens the socket. The path of a UNIX socket is removed first if a socket stands there.
func (n *Notifications) Start() error {
	kind, where, _ := strings.Cut(n.Listen, ":")
	if err := n.Check(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.listener != nil {
		return errors.New("rtprelay: notifications started twice")
	}
	if kind == "unix" {
		if st, err := os.Lstat(where); err == nil && st.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(where)
		}
	}
	network := kind
	if kind == "http" {
		network = "tcp"
	}
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	n.listener, n.conns = l, map[net.Conn]struct{}{}
	n.wg.Add(1)
	go n.accept(l)
	return nil
}

// Addr is where it listens, nil before Start.
func (n *Notifications) Addr() net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return nil
	}
	return n.listener.Addr()
}

// Odd counts lines and requests that were no notification of ours.
func (n *Notifications) Odd() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.odd
}

// Close ends the listener and its connections and waits for OnTimeout to return.
func (n *Notifications) Close() error {
	n.mu.Lock()
	n.closed = true
	if n.listener != nil {
		_ = n.listener.Close()
	}
	for c := range n.conns {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
	return nil
}

func (n *Notifications) accept(l net.Listener) {
	defer n.wg.Done()
	limit := n.MaxConnections
	if limit <= 0 {
		limit = 64
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if isTemporary(err) {
				continue
			}
			return
		}
		n.mu.Lock()
		if n.closed || len(n.conns) >= limit || !n.welcome(c.RemoteAddr()) {
			n.mu.Unlock()
			_ = c.Close()
			continue
		}
		n.conns[c] = struct{}{}
		n.wg.Add(1)
		n.mu.Unlock()
		go n.serve(c)
	}
}

func isTemporary(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (n *Notifications) serve(c net.Conn) {
	defer n.wg.Done()
	defer func() {
		_ = c.Close()
		n.mu.Lock()
		delete(n.conns, c)
		n.mu.Unlock()
	}()
	if strings.HasPrefix(n.Listen, "http:") {
		n.serveHTTP(c)
		return
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 0, 1024), maxCommand)
	for lines.Scan() {
		n.told(parseNotifyTag(lines.Text()))
	}
}

// told hands a notification on, or counts what was none.
func (n *Notifications) told(r Ref, ok bool) {
	if !ok {
		n.mu.Lock()
		n.odd++
		n.mu.Unlock()
		return
	}
	if n.OnTimeout != nil {
		n.OnTimeout(r)
	}
}

// welcome asks From; who comes over a UNIX socket has the file's permission.
func (n *Notifications) welcome(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	if !ok || len(n.From) == 0 {
		return true
	}
	ip := t.AddrPort().Addr().Unmap()
	return slices.ContainsFunc(n.From, func(p netip.Prefix) bool { return p.Contains(ip) })
}
