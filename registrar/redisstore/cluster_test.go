package redisstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
	"github.com/sipkit/sipkit/registrar"
)

// A cluster is three masters, and as many replicas of the first.
type cluster struct {
	masters, replicas []*server
}

func startCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	programs.Need(t, "redis-server")
	n := 3 + replicas
	ports := freePorts(t, 2*n)
	var l []*server
	for i := range n {
		l = append(l, startOn(t, ports[2*i], "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(ports[2*i+1]),
			"--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"))
	}
	x := &cluster{l[:3], l[3:]}
	for i, s := range x.masters {
		s.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		s.do("CLUSTER", "ADDSLOTSRANGE", i*slotCount/3, (i+1)*slotCount/3-1)
	}
	for i := range l[1:] {
		l[0].do("CLUSTER", "MEET", "127.0.0.1", ports[2*i+2], ports[2*i+3])
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
	x := startCluster(t, 0)
	t.Run("slots", func(t *testing.T) {
		for _, key := range []string{"", "a", "123456789", "sipkit:{a@x}", "{}x", "{}{a}", "a{b", "a}{b}c}", "a*[b]?{c}\\:{x@y}", "\xff\x00\n"} {
			require.Equal(t, x.masters[0].do("CLUSTER", "KEYSLOT", key), fmt.Sprint(slot(key)), key)
		}
	})
	t.Run("kit", func(t *testing.T) { testKit(t, x.config()) })
	t.Run("cache follows", func(t *testing.T) { cacheFollows(t, x.config(), 100) })
}
