package transport

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	cacheMax    = 10000           // names
	ttlMax      = time.Hour       // however long the record says
	ttlMin      = time.Second     // against a query per message
	ttlNegative = 5 * time.Second // longest memory of names that do not exist or could not be asked for
)

type recordKind uint8

const (
	kindNAPTR recordKind = iota
	kindSRV
	kindIP
)

type cacheKey struct {
	kind recordKind
	name string
}

// records is a cached answer, or the lack of one.
type records struct {
	expires time.Duration // since the cache's base
	naptr   []NAPTR
	srv     []SRV
	ip      []netip.Addr
}

// cache keeps answers for as long as they may be kept.
type cache struct {
	base time.Time
	mu   sync.Mutex
	m    map[cacheKey]*records
}

func (c *cache) init(base time.Time) {
	c.base = base
	c.m = make(map[cacheKey]*records)
}

func (c *cache) get(k cacheKey) *records {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[k]
	if e == nil || e.expires <= time.Since(c.base) {
		return nil
	}
	return e
}

func (c *cache) put(k cacheKey, e *records, ttl time.Duration) {
	ttl = max(min(ttl, ttlMax), ttlMin)
	if len(e.naptr)+len(e.srv)+len(e.ip) == 0 {
		ttl = min(ttl, ttlNegative)
	}
	now := time.Since(c.base)
	e.expires = now + ttl
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= cacheMax {
		c.prune(now)
	}
	c.m[k] = e
}

// prune makes room: first what has expired, then whatever comes first.
func (c *cache) prune(now time.Duration) {
	for k, e := range c.m {
		if e.expires <= now {
			delete(c.m, k)
		}
	}
	for k := range c.m {
		if len(c.m) < cacheMax*9/10 {
			return
		}
		delete(c.m, k)
	}
}

// A lookup asks the cache and, when it has a context, the DNS.
type lookup struct {
	r   *resolver
	ctx context.Context
}

func (k lookup) ended() bool { return k.ctx != nil && k.ctx.Err() != nil }

func (k lookup) naptr(name string) ([]NAPTR, error) {
	e, err := k.records(kindNAPTR, name)
	if err != nil {
		return nil, err
	}
	return e.naptr, nil
}

func (k lookup) srv(name string) ([]SRV, error) {
	e, err := k.records(kindSRV, name)
	if err != nil {
		return nil, err
	}
	return e.srv, nil
}

func (k lookup) ip(name string) ([]netip.Addr, error) {
	if ip, ok := parseIP(name); ok { // an SRV target that should not be a literal, but is
		return []netip.Addr{ip}, nil
	}
	e, err := k.records(kindIP, name)
	if err != nil {
		return nil, err
	}
	return e.ip, nil
}

// records gives the cached answer, or asks; all who want the same name meanwhile share one question.
func (k lookup) records(kind recordKind, name string) (*records, error) {
	key := cacheKey{kind, strings.ToLower(strings.TrimSuffix(name, "."))}
	if e := k.r.cache.get(key); e != nil {
		return e, nil
	}
	if k.ctx == nil {
		return nil, errWait
	}
	ch := k.r.flight.DoChan(string('0'+rune(kind))+key.name, func() (any, error) { return k.r.ask(key), nil })
	select {
	case res := <-ch:
		return res.Val.(*records), nil
	case <-k.ctx.Done():
		return nil, ErrNoAddress
	}
}

// enter waits for one of Config.Lookups places: a server that does not answer would else take every descriptor there is.
func (r *resolver) enter(ctx context.Context) bool {
	select {
	case r.places <- struct{}{}:
		return true
	case <-ctx.Done():
		r.l.stats.lookupsRefused.Add(1)
		return false
	}
}

func (r *resolver) leave() { <-r.places }

// ask sends the question, for its own time and not that of the caller who happened to be first. A failure to get any
// answer is kept for a moment too, so that a dead DNS server is not asked for every message.
func (r *resolver) ask(k cacheKey) *records {
	ctx, cancel := context.WithTimeout(r.l.ctx, r.l.cfg.ResolveTimeout)
	defer cancel()
	if !r.enter(ctx) {
		return &records{}
	}
	defer r.leave()
	e := &records{}
	var ttl time.Duration
	var err error
	switch k.kind {
	case kindNAPTR:
		e.naptr, ttl, err = r.l.net.LookupNAPTR(ctx, k.name)
		slices.SortStableFunc(e.naptr, func(a, b NAPTR) int {
			return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
		})
	case kindSRV:
		e.srv, ttl, err = r.l.net.LookupSRV(ctx, k.name)
	case kindIP:
		e.ip, ttl, err = r.l.net.LookupIP(ctx, k.name)
		for i := range e.ip {
			e.ip[i] = e.ip[i].Unmap()
		}
	}
	if err != nil {
		r.l.log.Debug("lookup failed", "name", k.name, "error", err)
		e, ttl = &records{}, ttlMin
	}
	r.cache.put(k, e, ttl)
	return e
}
