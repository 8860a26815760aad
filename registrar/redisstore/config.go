package redisstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is the configuration of a Store. The zero value works with a server on the standard port of this host.
type Config struct {
	// Options say where Redis is: one address, several of a Cluster, or those of Sentinels with MasterName. The time-outs, retries
	// and pool sizes in it are set by the Store where they are zero.
	Options redis.UniversalOptions
	// Prefix begins every key and channel. Nodes with the same prefix share bindings. "": "sipkit:".
	Prefix string
	// Timeout bounds a trip to the server, connecting included, and how long an operation may have waited when its trip begins:
	// one that cannot be done fails within three times as long. 0: 500 ms.
	Timeout time.Duration
	// Pause is how long nothing is tried after a failed trip. 0: 250 ms.
	Pause time.Duration
	// Pipelines is how many connections carry the traffic; in a Cluster, that of each sixteenth of the slots. 0: 2; in a Cluster 1.
	Pipelines int
	// Queue bounds the operations that wait for a pipeline; more give ErrUnavailable. In a Cluster a sixteenth of it is for each
	// sixteenth of the slots. 0: 16,384.
	Queue int
	// CacheSize bounds the addresses-of-record in the lookup cache; negative: no cache. 0: 10,000.
	CacheSize int
	// CacheAge bounds how long the cache is believed: without asking while changes are being heard, and when Redis
	// cannot be reached, from the time it was lost. 0: 1 minute.
	CacheAge time.Duration
	// EventQueue bounds the changes that wait for one watcher; more are dropped and counted. 0: 16,384.
	EventQueue int
	// Logger gets the loss and return of the server. nil: nothing is logged.
	Logger *slog.Logger

	heartbeat time.Duration // for tests
}

const (
	defaultPrefix     = "sipkit:"
	defaultTimeout    = 500 * time.Millisecond
	defaultPause      = 250 * time.Millisecond
	defaultPipelines  = 2
	defaultQueue      = 1 << 14
	defaultCacheSize  = 10_000
	defaultCacheAge   = time.Minute
	defaultEventQueue = 1 << 14

	// defaultHeartbeat is how often a feed is tested: the server that takes our commands is made to publish something, which must
	// have come before the next.
	defaultHeartbeat = 3 * time.Second
)

func orElse[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// groups is of how many groups of slots the traffic is kept apart: 1 without Cluster.
func (c *Config) groups() int {
	if c.Options.MasterName == "" && (len(c.Options.Addrs) > 1 || c.Options.IsClusterMode) {
		return slotGroups
	}
	return 1
}

func (c Config) withDefaults() Config {
	orElse(&c.Prefix, defaultPrefix)
	orElse(&c.Timeout, defaultTimeout)
	orElse(&c.Pause, defaultPause)
	orElse(&c.Pipelines, max(1, defaultPipelines/c.groups()))
	orElse(&c.Queue, defaultQueue)
	orElse(&c.CacheSize, defaultCacheSize)
	orElse(&c.CacheAge, defaultCacheAge)
	orElse(&c.EventQueue, defaultEventQueue)
	orElse(&c.heartbeat, defaultHeartbeat)
	orElse(&c.Logger, slog.New(slog.DiscardHandler))
	o := &c.Options
	orElse(&o.DialTimeout, c.Timeout)
	orElse(&o.ReadTimeout, c.Timeout)
	orElse(&o.WriteTimeout, c.Timeout)
	orElse(&o.PoolTimeout, c.Timeout)
	orElse(&o.PoolSize, c.Pipelines*c.groups()+2) // and the heartbeat, and Scan
	orElse(&o.MaxRetries, -1)                     // retrying is the caller's: a REGISTER is sent again
	orElse(&o.DialerRetries, 1)
	orElse(&o.PipelinePoolSize, -1) // everything is a pipeline
	if o.MaintNotificationsConfig == nil {
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	}
	o.ContextTimeoutEnabled = true
	return c
}

// ParseURL reads "redis://user:password@host:6379/0" ("rediss:" for TLS). Further addresses are given as addr=host:port in the query;
// with master=NAME they are Sentinels, else nodes of a Cluster, as is a single one with cluster=true. prefix= sets Prefix.
func ParseURL(s string) (Config, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Config{}, errors.New("redisstore: malformed URL") // url.Error would show the password
	}
	q := u.Query()
	master, addrs, cluster, prefix := q.Get("master"), q["addr"], q.Get("cluster"), q.Get("prefix")
	for _, name := range []string{"master", "addr", "cluster", "prefix"} {
		q.Del(name)
	}
	if len(q) > 0 {
		return Config{}, fmt.Errorf("redisstore: unknown parameters in URL: %v", q)
	}
	u.RawQuery = ""
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return Config{}, errors.New("redisstore: URL must be redis://[user:password@]host[:port][/database]")
	}
	return Config{
		Prefix: prefix,
		Options: redis.UniversalOptions{
			Addrs: append([]string{o.Addr}, addrs...), MasterName: master, IsClusterMode: cluster == "true",
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig,
		},
	}, nil
}
