package auth

import (
	"context"
	"sync"
)

// A Source knows the users. Its methods are safe for concurrent use. It is called through sipproxy.Block and may wait, unless it is a
// Waiter that says it does not.
type Source interface {
	// Secret returns what is known of a user; the zero Secret when there is no such user. An error is answered with 503.
	Secret(ctx context.Context, realm, user string) (Secret, error)
	// Algorithms are those by which every user of a realm can be checked. Only they are offered, to strangers as well: the
	// challenge does not tell which users exist. Without any, requests of the realm are refused with 403. It must not wait.
	Algorithms(realm string) Algorithms
}

// A Waiter is a Source that says whether Secret may wait for a database or another server.
type Waiter interface {
	Waits() bool
}

// A Secret is what a server keeps of a password: H(user:realm:password) for each algorithm in lower-case hexadecimal, "" where it
// is unknown (RFC 7616 §3.4.2). Whoever reads it can log in as the user.
type Secret struct {
	MD5       string
	SHA256    string
	SHA512256 string
}

// Password makes the secret of a password for every algorithm.
func Password(realm, user, password string) Secret {
	text := join(nil, user, realm, password)
	return Secret{
		MD5:       string(MD5.hexSum(nil, text)),
		SHA256:    string(SHA256.hexSum(nil, text)),
		SHA512256: string(SHA512256.hexSum(nil, text)),
	}
}

// Algorithms are those the secret has a hash for.
func (s Secret) Algorithms() (a Algorithms) {
	for _, one := range strongestFirst {
		if len(s.ha1(one)) == one.hexLen() {
			a |= one
		}
	}
	return a
}

func (s Secret) ha1(a Algorithms) string {
	switch a {
	case SHA512256:
		return s.SHA512256
	case SHA256:
		return s.SHA256
	}
	return s.MD5
}

// Users is a Source in memory. Its zero value is empty and ready for use.
type Users struct {
	mu    sync.RWMutex
	table table
}

// Set adds a user, or replaces the password of one.
func (u *Users) Set(realm, user, password string) {
	u.SetSecret(realm, user, Password(realm, user, password))
}

// SetSecret is Set for whoever does not know the password.
func (u *Users) SetSecret(realm, user string, s Secret) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.table.set(realm, user, s)
}

// Delete removes a user.
func (u *Users) Delete(realm, user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.table.delete(realm, user)
}

// Secret is Source.Secret.
func (u *Users) Secret(_ context.Context, realm, user string) (Secret, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.table.users[userKey{realm, user}], nil
}

// Algorithms is Source.Algorithms: MD5 for a realm without users.
func (u *Users) Algorithms(realm string) Algorithms {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.table.algorithms(realm)
}

// Waits is Waiter.Waits: never.
func (u *Users) Waits() bool { return false }

type userKey struct{ realm, user string }

// A table holds users and, for each realm, how many of them can be checked by each algorithm.
type table struct {
	users  map[userKey]Secret
	realms map[string]*tally
	names  map[nameKey]string // nil: not asked for yet
	hashed sync.Once          // guards making names, where nothing else does
}

type tally struct {
	users int
	by    [len(strongestFirst)]int
}

func (t *table) set(realm, user string, s Secret) {
	if t.users == nil {
		t.users, t.realms = make(map[userKey]Secret), make(map[string]*tally)
	}
	t.delete(realm, user)
	t.users[userKey{realm, user}] = s
	if t.realms[realm] == nil {
		t.realms[realm] = new(tally)
	}
	t.realms[realm].add(s, 1)
	t.hashName(userKey{realm, user}, s, true)
}

func (t *table) delete(realm, user string) {
	old, ok := t.users[userKey{realm, user}]
	if !ok {
		return
	}
	delete(t.users, userKey{realm, user})
	t.realms[realm].add(old, -1)
	t.hashName(userKey{realm, user}, old, false)
	if t.realms[realm].users == 0 {
		delete(t.realms, realm)
	}
}

func (n *tally) add(s Secret, by int) {
	n.users += by
	for i, one := range strongestFirst {
		if s.Algorithms()&one != 0 {
			n.by[i] += by
		}
	}
}

func (t *table) algorithms(realm string) (a Algorithms) {
	n := t.realms[realm]
	if n == nil {
		return MD5
	}
	for i, one := range strongestFirst {
		if n.by[i] == n.users {
			a |= one
		}
	}
	return a
}
