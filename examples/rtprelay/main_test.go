package main

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
)

// buffer collects what the daemon writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the daemon until the test ends and answers with its control addresses.
func start(t *testing.T, args ...string) []net.Addr {
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan []net.Addr, 1), make(chan error, 1)
	var out buffer
	go func() {
		ended <- run(ctx, args, &out, func(c *rtprelay.Control) { ready <- c.Addrs() })
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
		require.Contains(t, out.String(), "msg=end")
	})
	select {
	case a := <-ready:
		return a
	case err := <-ended:
		ended <- nil
		require.NoError(t, err)
	}
	return nil
}

func ask(t *testing.T, conn net.Conn, command string) string {
	t.Helper()
	_, err := conn.Write([]byte(command))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

func TestDaemon(t *testing.T) {
	sock := t.TempDir() + "/s"
	a := start(t, "-listen", "udp:127.0.0.1:0", "-listen", "cunix:"+sock, "-interface", "in=127.0.0.2", "-interface", "out=127.0.0.3/203.0.113.1",
		"-ports", "24000-24999", "-timeout", "30s", "-one-sided", "40s", "-record", t.TempDir(), "-notify", "unix:/nowhere")
	udp, err := net.Dial("udp", a[0].String())
	require.NoError(t, err)
	defer func() { _ = udp.Close() }()
	require.Equal(t, "1 20040107\n", ask(t, udp, "1 V"))
	require.Equal(t, "2 1\n", ask(t, udp, "2 VF 20081224"))
	require.Regexp(t, `^3 24\d\d\d 203\.0\.113\.1\n$`, ask(t, udp, "3 UIE call 127.0.0.1 9 f;1"))
	unix, err := net.Dial("unix", sock)
	require.NoError(t, err)
	defer func() { _ = unix.Close() }()
	require.Regexp(t, `^24\d\d\d 127\.0\.0\.2\n$`, ask(t, unix, "L call 127.0.0.1 9 f;1 t;1\n"))
	require.Equal(t, "0\n", ask(t, unix, "D call f t\n"))
}

func TestMistakes(t *testing.T) {
	for _, args := range [][]string{
		{"-interface", "127.0.0.1"}, {"-interface", "a=nonsense"}, {"-interface", "a=127.0.0.1/x"}, {"-ports", "x"}, {"-ports", "1-2"},
		{"-interface", "a=127.0.0.1", "-ports", "80-90"}, {"extra"}, {"-from", "x"}, {"-network", "y"}, {"-listen", "http:x"}, {"-listen", "udp:203.0.113.1:1"},
	} {
		require.Error(t, run(context.Background(), args, &buffer{}, nil), "%v", args)
	}
}
