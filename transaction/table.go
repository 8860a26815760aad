package transaction

import "sync"

// A link chains what has the same place in a table.
type link[P any] struct {
	next P
	hash uint64
}

type linked[P any] interface {
	comparable
	chain() *link[P]
}

// A table is a hash table with intrusive chains: an entry costs no memory but
// its share of the buckets. It is guarded by its shard.
type table[P linked[P]] struct {
	buckets []P
	n       int
}

const minBuckets = 16

// first is the head of the chain in which hash would be; compare hash and key of each.
func (t *table[P]) first(hash uint64) (p P) {
	if len(t.buckets) == 0 {
		return p
	}
	return t.buckets[hash&uint64(len(t.buckets)-1)]
}

func (t *table[P]) insert(p P) {
	if t.n >= len(t.buckets) {
		t.resize(max(minBuckets, 2*len(t.buckets)))
	}
	t.n++
	t.push(p)
}

func (t *table[P]) push(p P) {
	l := p.chain()
	at := &t.buckets[l.hash&uint64(len(t.buckets)-1)]
	l.next, *at = *at, p
}

func (t *table[P]) remove(p P) {
	if len(t.buckets) == 0 {
		return
	}
	var none P
	at := &t.buckets[p.chain().hash&uint64(len(t.buckets)-1)]
	for *at != none && *at != p {
		at = &(*at).chain().next
	}
	if *at == none {
		return
	}
	*at, p.chain().next = p.chain().next, none
	t.n--
	if t.n < len(t.buckets)/8 && len(t.buckets) > minBuckets {
		t.resize(len(t.buckets) / 2)
	}
}

func (t *table[P]) resize(n int) {
	var none P
	old := t.buckets
	t.buckets = make([]P, n)
	for _, p := range old {
		for p != none {
			next := p.chain().next
			t.push(p)
			p = next
		}
	}
}

func (t *table[P]) all(f func(P)) {
	var none P
	for _, p := range t.buckets {
		for p != none {
			next := p.chain().next
			f(p)
			p = next
		}
	}
}

const shards = 64

// A shard is a part of the table with its lock, which also guards the
// transactions in it: one lock operation an event.
type shard struct {
	sync.Mutex
	servers table[*Server]
	clients table[*Client]
	count   counters
	_       [64]byte // keeps the locks of neighbours on different cache lines
}

// counters are summed up by Stats.
type counters struct {
	servers, clients                         uint64
	retransmitted, absorbed, stray, timedOut uint64
}

func (l *Layer) shard(hash uint64) *shard { return &l.shards[hash>>58] }
