// Package redisstore keeps the bindings of a fleet of registrars in Redis: a registrar.Store on a
// standalone server, behind Sentinel, or in a Cluster.
//
//	cfg, err := redisstore.ParseURL("redis://10.0.0.1:6379/0")
//	if err != nil {
//		return err
//	}
//	store, err := redisstore.New(cfg)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//
// There is one key an address-of-record, "sipkit:{aor}", which holds a version and the packed bindings and expires with the last of
// them. An Update reads it, runs its function, and has a script replace it if the version is still the same; else it runs the
// function again on what is there now. Updates and lookups of all goroutines travel in pipelines. The script
// publishes each change on the channel "sipkit:events", from which every node keeps a small lookup cache true and tells its watchers.
//
// What an acknowledged Update survives is up to Redis: appendonly and appendfsync say what a crash of the server costs; a failover loses
// what had not reached the replica, a second's worth at most when min-replicas-to-write and min-replicas-max-lag say so.
//
// When Redis cannot be reached, Update fails with registrar.ErrUnavailable, at once after the first has waited for Config.Timeout,
// and Lookup gives what the cache knows, for Config.CacheAge. Commands used: GET, SCAN, EVAL, EVALSHA, SUBSCRIBE, PING and, in the script,
// GETRANGE, SET, DEL, PEXPIREAT, PUBLISH. Redis 5 or later.
package redisstore
