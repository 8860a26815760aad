package redisstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
)

// A sentinelled is a master with its replica and three Sentinels, two of which have to agree.
type sentinelled struct {
	master, replica *server
	sentinels       []*server
}

func startSentinel(t *testing.T) *sentinelled {
	t.Helper()
	programs.Need(t, "redis-server")
	ports := freePorts(t, 5)
	x := &sentinelled{master: startOn(t, ports[0], "--repl-diskless-sync-delay", "0")}
	x.replica = startOn(t, ports[1], "--replicaof", "127.0.0.1 "+fmt.Sprint(ports[0]), "--repl-diskless-sync-delay", "0")
	for _, port := range ports[2:] {
		s := &server{t: t, dir: t.TempDir(), port: port}
		conf := filepath.Join(s.dir, "sentinel.conf") // they write it anew
		require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "port %d\nbind 127.0.0.1\ndir %s\nlogfile log\n"+
			"sentinel monitor m 127.0.0.1 %d 2\nsentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 10000\n", port, s.dir, ports[0]), 0o600))
		s.args = []string{conf, "--sentinel"}
		s.start()
		t.Cleanup(s.kill)
		x.sentinels = append(x.sentinels, s)
	}
	for _, s := range x.sentinels { // all know each other, and the replica
		waitFor(t, func() bool {
			m := s.master(t)
			return m["num-other-sentinels"] == "2" && m["num-slaves"] == "1" && m["flags"] == "master"
		})
	}
	waitFor(t, func() bool { return redisInfo(t, x.replica, "replication", "master_link_status") == "up" })
	return x
}

// master is what a Sentinel says of it.
func (s *server) master(t testing.TB) map[string]string {
	t.Helper()
	c := redis.NewSentinelClient(&redis.Options{Addr: s.addr()})
	defer func() { _ = c.Close() }()
	m, err := c.Master(context.Background(), "m").Result()
	require.NoError(t, err)
	return m
}

func (x *sentinelled) config() Config {
	c := Config{Options: redis.UniversalOptions{MasterName: "m"}}
	for _, s := range x.sentinels {
		c.Options.Addrs = append(c.Options.Addrs, s.addr())
	}
	return c
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	x := startSentinel(t)
	t.Run("kit", func(t *testing.T) { testKit(t, x.config()) })
	t.Run("cache follows", func(t *testing.T) { cacheFollows(t, x.config(), 30) })
	t.Run("failover", func(t *testing.T) { testFailover(t, x) })
}

// testFailover kills the master while four nodes write. They go on with the replica; it has what it had acknowledged to the master.
func testFailover(t *testing.T, x *sentinelled) {
	cfg := x.config()
	cfg.Timeout, cfg.CacheAge = 5*time.Second, time.Hour
	w := startWriters(t, cfg, "w0@x", "w1@x", "w2@x", "w3@x")
	confirmed := w.replicateTo(x.master)
	waitFor(t, func() bool { return w.all(func(w *writer) bool { return w.replicated.Load() > 100 }) })
	killed := time.Now()
	x.master.kill()
	<-confirmed
	w.goOn(t)
	t.Logf("all write again after %v", time.Since(killed))
	w.check(t)
	require.Equal(t, "master", redisInfo(t, x.replica, "replication", "role"))
}
