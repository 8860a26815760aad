package redisstore

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
	"github.com/sipkit/sipkit/registrar"
)

// A cluster is three masters, and as many replicas of the first.
type cluster struct {
	masters, replicas []*server
	bus               []int // ports on which they speak to each other
}

func startCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	programs.Need(t, "redis-server")
	n := 3 + replicas
	ports := freePorts(t, 2*n)
	bus := ports[n:]
	var l []*server
	for i := range n {
		l = append(l, startOn(t, ports[i], "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus[i]),
			"--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"))
	}
	x := &cluster{l[:3], l[3:], bus}
	for i, s := range x.masters {
		s.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		s.do("CLUSTER", "ADDSLOTSRANGE", i*slotCount/3, (i+1)*slotCount/3-1)
	}
	for i := range l[1:] {
		l[0].do("CLUSTER", "MEET", "127.0.0.1", ports[i+1], bus[i+1])
	}
	for _, s := range l {
		waitFor(t, func() bool {
			return redisClusterInfo(s, "cluster_state") == "ok" && redisClusterInfo(s, "cluster_known_nodes") == fmt.Sprint(n)
		})
	}
	for _, s := range x.replicas {
		s.do("CLUSTER", "REPLICATE", x.masters[0].do("CLUSTER", "MYID"))
		waitFor(t, func() bool { return redisInfo(t, s, "replication", "master_link_status") == "up" })
	}
	return x
}

func redisClusterInfo(s *server, name string) string {
	for line := range strings.Lines(s.do("CLUSTER", "INFO")) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (x *cluster) config() Config {
	return Config{Options: redis.UniversalOptions{Addrs: []string{x.masters[1].addr(), x.masters[2].addr()}, IsClusterMode: true}}
}

// at is an address whose key the i-th master has, as the slots are in the beginning.
func (x *cluster) at(i, n int) registrar.AOR {
	for ; ; n += 1000 {
		aor := fmt.Sprint("user", n, "@x")
		if slot("sipkit:{"+aor+"}")*3/slotCount == i {
			return registrar.AOR(aor)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	x := startCluster(t, 1)
	t.Run("slots", func(t *testing.T) {
		for _, key := range []string{"", "a", "123456789", "sipkit:{a@x}", "{}x", "{}{a}", "a{b", "a}{b}c}", "a*[b]?{c}\\:{x@y}", "\xff\x00\n"} {
			require.Equal(t, x.masters[0].do("CLUSTER", "KEYSLOT", key), fmt.Sprint(slot(key)), key)
		}
	})
	t.Run("kit", func(t *testing.T) { testKit(t, x.config()) })
	t.Run("cache follows", func(t *testing.T) { cacheFollows(t, x.config(), 100) })
	t.Run("masters do not see each other", func(t *testing.T) { testUnseen(t, x) })
	t.Run("slot moves", func(t *testing.T) { testSlotMoves(t, x) })
	t.Run("master hangs", func(t *testing.T) { testMasterHangs(t, x) })
	t.Run("failover", func(t *testing.T) { testClusterFailover(t, x) })
}

// testUnseen makes the first master send nothing to the others: they do not pass on its changes.
func testUnseen(t *testing.T, x *cluster) {
	cfg := x.config()
	cfg.CacheAge = time.Hour
	a, b := open(t, cfg), open(t, cfg)
	waitFor(t, func() bool { return a.Stats().Connected && b.Stats().Connected })
	x.masters[0].do("CONFIG", "SET", "cluster-require-full-coverage", "no")
	for _, s := range x.masters[1:] {
		x.masters[0].do("CLUSTER", "FORGET", s.do("CLUSTER", "MYID"))
	}
	for i := range 20 {
		aor := string(x.at(0, i))
		for n := range uint32(3) {
			require.NoError(t, set(a, aor, n+1))
			waitFor(t, func() bool { return cseq(t, b, aor) == n+1 })
		}
	}
	require.NotZero(t, b.Stats().CacheHits)
	for i, s := range x.masters[1:] {
		x.masters[0].do("CLUSTER", "MEET", "127.0.0.1", s.port, x.bus[i+1])
	}
	waitFor(t, func() bool {
		return redisClusterInfo(x.masters[0], "cluster_known_nodes") == "4" && redisClusterInfo(x.masters[0], "cluster_slots_ok") == fmt.Sprint(slotCount)
	})
}

// testSlotMoves has a slot go to another master. Before this is noticed, and after, the caches are right.
func testSlotMoves(t *testing.T, x *cluster) {
	cfg := x.config()
	cfg.CacheAge, cfg.heartbeat = time.Hour, aBeat
	a, b := open(t, cfg), open(t, cfg)
	waitFor(t, func() bool { return a.Stats().Connected && b.Stats().Connected })
	aor := string(x.at(0, 1))
	key := "sipkit:{" + aor + "}"
	n := slot(key)
	from, to := x.masters[0], x.masters[1]
	fromID, toID := from.do("CLUSTER", "MYID"), to.do("CLUSTER", "MYID")
	step := uint32(0)
	next := func() {
		step++
		require.NoError(t, set(a, aor, step))
		waitFor(t, func() bool { return cseq(t, b, aor) == step })
	}
	next()
	to.do("CLUSTER", "SETSLOT", n, "IMPORTING", fromID)
	from.do("CLUSTER", "SETSLOT", n, "MIGRATING", toID)
	next()
	from.do("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)
	next()
	for _, s := range []*server{to, from, x.masters[2]} {
		s.do("CLUSTER", "SETSLOT", n, "NODE", toID)
		next()
	}
	for range 10 {
		next()
	}
	for _, s := range []*Store{a, b} {
		waitFor(t, func() bool {
			next()
			before := s.Stats()
			cseq(t, s, aor)
			return s.Stats().CacheHits > before.CacheHits // heard from the new one
		})
	}
}

// testMasterHangs stops the last master. The addresses of others go on, and not at the pace of its time-outs.
func testMasterHangs(t *testing.T, x *cluster) {
	cfg := x.config()
	cfg.Timeout, cfg.Pause, cfg.CacheSize = 8*time.Second, time.Hour, -1 // in which a busy machine, too, does what is below
	s := open(t, cfg)
	require.NoError(t, set(s, string(x.at(0, 1)), 1))
	p := x.masters[2].cmd.Process
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	defer func() { _ = p.Signal(syscall.SIGCONT) }()
	hung := make(chan error, 1)
	go func() { hung <- set(s, string(x.at(2, 1)), 1) }()
	waitFor(t, func() bool { return s.Stats().Operations > 2 })
	for i := range 100 {
		require.NoError(t, set(s, string(x.at(0, i)), 2))
	}
	require.Empty(t, hung, "the others waited")
	require.ErrorIs(t, <-hung, registrar.ErrUnavailable)
}

// testClusterFailover kills the first master, which has a replica.
func testClusterFailover(t *testing.T, x *cluster) {
	cfg := x.config()
	cfg.Timeout, cfg.CacheAge = 5*time.Second, time.Hour
	w := startWriters(t, cfg, x.at(0, 100), x.at(0, 101), x.at(1, 1), x.at(2, 1))
	confirmed := w.replicateTo(x.masters[0])
	waitFor(t, func() bool { return w.list[0].replicated.Load() > 100 && w.list[1].replicated.Load() > 100 })
	killed := time.Now()
	x.masters[0].kill()
	<-confirmed
	w.goOn(t)
	t.Logf("all write again after %v", time.Since(killed))
	w.check(t)
	require.Equal(t, "master", redisInfo(t, x.replicas[0], "replication", "role"))
}
