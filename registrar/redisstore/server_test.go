package redisstore

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
)

// A server is a redis-server of the test's own.
type server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// startServer skips the test when there is no redis-server, but in CI, where it fails.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	programs.Need(t, "redis-server")
	return startOn(t, freePorts(t, 1)[0], args...)
}

func startOn(t testing.TB, port int, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), port: port}
	s.args = append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--logfile", "log"}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freePorts(t testing.TB, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start also serves to start it again, with its data.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	require.NoError(s.t, s.cmd.Start())
	c := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1})
	defer func() { _ = c.Close() }()
	require.Eventually(s.t, func() bool { return c.Ping(context.Background()).Err() == nil }, 20*time.Second, 10*time.Millisecond)
}

// kill is SIGKILL.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) open(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Options.Addrs = []string{s.addr()}
	return open(t, cfg)
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	orElse(&cfg.Timeout, time.Minute) // a busy machine is slow, and no loss of the server
	st, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// do runs a command on the server.
func (s *server) do(args ...any) string {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.addr()})
	defer func() { _ = c.Close() }()
	v, err := c.Do(context.Background(), args...).Result()
	require.NoError(s.t, err, args)
	return strings.TrimSpace(fmt.Sprint(v))
}
