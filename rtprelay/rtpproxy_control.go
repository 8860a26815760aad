package rtprelay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// newControl reads Address.
func (e *RTPProxy) newControl() (control, error) {
	if e.Notify != "" && !isWord(e.Notify) {
		return nil, fmt.Errorf("rtprelay: notification address %q: blanks", e.Notify)
	}
	kind, where, _ := strings.Cut(e.Address, ":")
	if where == "" {
		return nil, fmt.Errorf("rtprelay: control address %q: want udp:, udp6:, unix:, cunix:, tcp: or tcp6: and where", e.Address)
	}
	switch kind {
	case "udp", "udp6":
		where = withPort(where, "22222")
		dial := func(ctx context.Context) (net.Conn, error) { return e.dial(ctx, kind, where) }
		u := newDatagrams(dial, orDefaultDuration(e.Retry, 100*time.Millisecond), maxReply)
		u.repeated = func() { e.counters.repetitions.Add(1) }
		u.late = func() { e.counters.late.Add(1) }
		return lines{u}, nil
	case "unix":
		return newOneShot(func(ctx context.Context) (net.Conn, error) { return e.dial(ctx, "unix", where) }), nil
	case "cunix":
		return newPipeline(func(ctx context.Context) (net.Conn, error) { return e.dial(ctx, "unix", where) }), nil
	case "tcp", "tcp6":
		where = withPort(where, "22222")
		return newPipeline(func(ctx context.Context) (net.Conn, error) { return e.dial(ctx, kind, where) }), nil
	}
	return nil, fmt.Errorf("rtprelay: control address %q: no such kind", e.Address)
}

// withPort adds the default port to a host.
func withPort(where, port string) string {
	if _, _, err := net.SplitHostPort(where); err == nil {
		return where
	}
	return net.JoinHostPort(strings.Trim(where, "[]"), port)
}

// lines strips the line end that RTPProxy puts behind its reply.
type lines struct{ *datagrams }

func (l lines) do(ctx context.Context, command string) (string, error) {
	reply, err := l.datagrams.do(ctx, command)
	return strings.TrimRight(reply, "\r\n \t"), err
}
