package auth

import (
	"context"
	"encoding/hex"

	"github.com/sipkit/sipkit/sipproxy"
)

// A UserHashSource is a Source that knows users by the hash of their name too, for Digest.UserHash. Users and File are.
type UserHashSource interface {
	Source
	// UserByHash returns the user of a realm for whom H(user:realm) by the one algorithm is the hash, in lower-case hexadecimal
	// (RFC 7616 §3.4.4); "" when there is none. An error is answered with 503. It may wait as Secret may.
	UserByHash(ctx context.Context, realm, hash string, by Algorithms) (user string, err error)
}

// userHash appends H(user:realm).
func (a Algorithms) userHash(b []byte, realm, user string) []byte {
	var text [256]byte
	return a.hexSum(b, join(text[:0], user, realm))
}

// hashesNames reports whether the challenge says userhash=true.
func (d *Digest) hashesNames() bool {
	_, can := d.Source.(UserHashSource)
	return d.UserHash && can
}

// name returns whom the credentials are of; not known: they have a hash, and nobody has it.
func (d *Digest) name(ctx context.Context, realm string, c *credentials) (user string, known bool, err error) {
	if !c.hashed {
		return c.username, true, nil
	}
	source := d.Source.(UserHashSource) // else it was not offered
	find := func() { user, err = source.UserByHash(ctx, realm, c.username, c.hash) }
	if w, ok := d.Source.(Waiter); ok && !w.Waits() {
		find()
	} else {
		sipproxy.Block(ctx, find)
	}
	if user == "" {
		return c.username, false, err
	}
	return user, true, err
}

// A nameKey is a user's name hashed by one algorithm for one realm.
type nameKey struct {
	realm string
	by    Algorithms
	sum   [sumSize]byte
}

// named returns the user with a hash; hashNames must have been called.
func (t *table) named(realm, hash string, by Algorithms) string {
	k := nameKey{realm: realm, by: by}
	if len(hash) != by.hexLen() {
		return ""
	}
	if _, err := hex.Decode(k.sum[:], []byte(hash)); err != nil {
		return ""
	}
	return t.names[k]
}

// hashNames makes the index by hash, which set and delete keep up to date from then on. It is not made before somebody asks: few do.
func (t *table) hashNames() {
	t.names = make(map[nameKey]string, len(t.users))
	for k, s := range t.users {
		t.hashName(k, s, true)
	}
}

// hashName puts a user into the index, or takes him out, by each algorithm he can be checked by.
func (t *table) hashName(u userKey, s Secret, in bool) {
	if t.names == nil {
		return
	}
	var text [256]byte
	for _, one := range strongestFirst {
		if s.Algorithms()&one == 0 {
			continue
		}
		k := nameKey{realm: u.realm, by: one}
		one.sum(k.sum[:0], join(text[:0], u.user, u.realm))
		if in {
			t.names[k] = u.user
		} else {
			delete(t.names, k)
		}
	}
}

// UserByHash is UserHashSource.UserByHash. The first call makes an index of all users.
func (u *Users) UserByHash(_ context.Context, realm, hash string, by Algorithms) (string, error) {
	u.mu.RLock()
	if u.table.names != nil {
		defer u.mu.RUnlock()
		return u.table.named(realm, hash, by), nil
	}
	u.mu.RUnlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table.names == nil {
		u.table.hashNames()
	}
	return u.table.named(realm, hash, by), nil
}

// UserByHash is UserHashSource.UserByHash. The first call after OpenFile or Reload makes an index of all users.
func (f *File) UserByHash(_ context.Context, realm, hash string, by Algorithms) (string, error) {
	t := f.table.Load()
	t.hashed.Do(t.hashNames)
	return t.named(realm, hash, by), nil
}
