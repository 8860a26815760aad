package rtprelay

import (
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	notifyQueue = 1024 // time-outs waiting for one socket; beyond: lost, as RTPProxy loses them
	notifyTries = 3
	notifyWait  = time.Second
)

// notifyTarget is where and under what name the time-out of a session is told.
type notifyTarget struct {
	to  *notifyConn
	tag string
}

func (n *notifyTarget) send() {
	select {
	case n.to.queue <- n.tag:
	default:
	}
}

// notifier keeps one connection to each socket that wants to hear of time-outs.
type notifier struct {
	mu    sync.Mutex
	conns map[string]*notifyConn
	wg    sync.WaitGroup
}

type notifyConn struct {
	network, addr string
	queue         chan string
	quit          chan struct{}
}

// notifyOf reads the last two words of a U with six or seven; nil: nobody is to be told.
func (c *Control) notifyOf(args []string) (*notifyTarget, controlCode) {
	if len(args) < 6 {
		return nil, codeNone
	}
	socket, quoted := args[len(args)-2], args[len(args)-1]
	tag, ok := unquote(quoted)
	if !ok || strings.ContainsAny(tag, "\r\n\x00") {
		return nil, codeQuoting
	}
	if len(c.Notify) == 0 {
		return nil, codeNotify
	}
	if !slices.Contains(c.Notify, socket) {
		return nil, codeNone
	}
	if port, ok := strings.CutPrefix(socket, "tcp:%%CC_SELF%%:"); ok {
		if !c.peer.IsValid() { // who commands over a UNIX socket has no address
			return nil, codeNone
		}
		socket = "tcp:" + net.JoinHostPort(c.peer.String(), port)
	}
	return &notifyTarget{c.notifier.conn(socket), tag}, codeNone
}

func (n *notifier) conn(socket string) *notifyConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[socket]; c != nil {
		return c
	}
	network, addr := "unix", socket
	if kind, rest, ok := strings.Cut(socket, ":"); ok && (kind == "unix" || kind == "tcp") {
		network, addr = kind, rest
	}
	c := &notifyConn{network, addr, make(chan string, notifyQueue), make(chan struct{})}
	if n.conns == nil {
		n.conns = map[string]*notifyConn{}
	}
	n.conns[strings.Clone(socket)] = c
	n.wg.Go(c.run)
	return c
}

func (n *notifier) close() {
	n.mu.Lock()
	for _, c := range n.conns {
		close(c.quit)
	}
	n.conns = nil
	n.mu.Unlock()
	n.wg.Wait()
}

// run writes a line a time-out; it connects when there is something to tell and keeps the connection.
func (c *notifyConn) run() {
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for {
		select {
		case <-c.quit:
			return
		case tag := <-c.queue:
			conn = c.tell(conn, tag)
		}
	}
}

func (c *notifyConn) tell(conn net.Conn, tag string) net.Conn {
	for range notifyTries {
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout(c.network, c.addr, notifyWait); err != nil {
				return nil // nobody there: this one is lost
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(notifyWait))
		if _, err := conn.Write([]byte(tag + "\n")); err == nil {
			return conn
		}
		_ = conn.Close()
		conn = nil
	}
	return nil
}
