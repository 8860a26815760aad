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
// What an acknowledged Update survives is up to Redis: appendonly and appendfsync say what a crash of the server costs; a failover, of
// Sentinel as of a Cluster, loses what had not reached the replica, a second's worth at most when min-replicas-to-write and
// min-replicas-max-lag say so. Phones bring it back when they refresh. Until the replica has taken over, Updates fail.
//
// The cache is believed while changes are heard. Every three seconds the server that takes the commands is made to publish something; when
// that has not come within three more, the subscription is given up and the cache is asked no longer until there is another. So a cache is
// at most six seconds behind, when a connection dies without a word or a failover leaves an old master alive. Keys that Redis evicts
// are gone without a word: let it evict none (maxmemory-policy noeviction).
//
// In a Cluster every master is subscribed to, for the changes of its own slots: what the masters pass on to each other comes late, or not
// at all when they do not see each other, and counts only while a slot moves. Changes go to 16 channels, "sipkit:events:0" to
// "sipkit:events:15", by the slot of the key, so that little comes twice; sharded channels would need one for each slot. The cache is believed while
// each slot has one master that is heard. Operations go by sixteenths of the slots too, and a master that hangs holds up those that it has a part of.
// Replicas are not read: New refuses ReadOnly, RouteByLatency and RouteRandomly.
//
// When Redis cannot be reached, Update fails with registrar.ErrUnavailable, at once after the first has waited for Config.Timeout,
// and Lookup gives what the cache knows, for Config.CacheAge. Commands used: GET, SCAN, EVAL, EVALSHA, SUBSCRIBE, PUBLISH, PING, in a Cluster
// CLUSTER SLOTS and CLUSTER MYID, and, in the script, GETRANGE, SET, DEL, PUBLISH. Redis 5 or later.
package redisstore
