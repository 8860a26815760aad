package transaction

import "sync"

// A table is a hash table with open addressing: what is in a place, or was put behind it because the place was taken, is found without a look at the
// entries on the way. Most of those are transactions that have been over for seconds and are in no cache. It is guarded by its shard.
type table[P comparable] struct {
	cells []cell[P] // a power of two of them, a quarter or more empty
	n     int
	total uint64 // ever inserted
}

// A cell is empty when p is the zero P.
type cell[P comparable] struct {
	hash uint64
	p    P
}

const minCells = 16

// seek returns the first entry of that hash at place i or behind, the zero P when there is none, and the place behind it. A search begins at the hash itself.
func (t *table[P]) seek(hash, i uint64) (p P, next uint64) {
	if len(t.cells) == 0 {
		return p, i
	}
	mask := uint64(len(t.cells) - 1)
	for ; ; i++ {
		c := &t.cells[i&mask]
		if c.p == p || c.hash == hash {
			return c.p, i + 1
		}
	}
}

func (t *table[P]) insert(hash uint64, p P) {
	if 4*(t.n+1) > 3*len(t.cells) {
		t.resize(max(minCells, 2*len(t.cells)))
	}
	t.n++
	t.total++
	t.put(hash, p)
}

func (t *table[P]) put(hash uint64, p P) {
	var none P
	mask := uint64(len(t.cells) - 1)
	i := hash & mask
	for t.cells[i].p != none {
		i = (i + 1) & mask
	}
	t.cells[i] = cell[P]{hash, p}
}

// remove takes p out, if it is there.
func (t *table[P]) remove(hash uint64, p P) {
	for q, i := t.seek(hash, hash); ; q, i = t.seek(hash, i) {
		var none P
		switch q {
		case none:
			return
		case p:
			t.clear(i - 1)
			return
		}
	}
}

// clear empties place i and moves up what would no longer be found behind it.
func (t *table[P]) clear(i uint64) {
	var none P
	mask := uint64(len(t.cells) - 1)
	for j := i + 1; t.cells[j&mask].p != none; j++ {
		if home := t.cells[j&mask].hash; (j-home)&mask >= j-i {
			t.cells[i&mask] = t.cells[j&mask]
			i = j
		}
	}
	t.cells[i&mask] = cell[P]{}
	t.n--
	if 8*t.n < len(t.cells) && len(t.cells) > minCells {
		t.resize(len(t.cells) / 2)
	}
}

func (t *table[P]) resize(n int) {
	var none P
	old := t.cells
	t.cells = make([]cell[P], n)
	for i := range old {
		if c := &old[i]; c.p != none {
			t.put(c.hash, c.p)
		}
	}
}

// empty takes everything out, and is what to take it from.
func (t *table[P]) empty() (old table[P]) {
	old = *t
	t.cells, t.n = nil, 0
	return old
}

func (t *table[P]) all(f func(P)) {
	var none P
	for i := range t.cells {
		if p := t.cells[i].p; p != none {
			f(p)
		}
	}
}

const shards = 64

// A shard is a part of the table with its lock, which also guards the
// transactions in it: one lock operation an event. It has two cache lines for itself, and what every event needs is in the first.
type shard struct {
	sync.Mutex
	servers table[*Server]
	clients table[*Client]
	count   counters
	_       [8]byte
}

// counters are summed up by Stats.
type counters struct {
	retransmitted, absorbed, stray, timedOut uint64
}

func (l *Layer) shard(hash uint64) *shard { return &l.shards[hash>>58] }
