package main

import (
	"bytes"
	"os"
	"strings"
	"sync/atomic"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
)

// users is the file of users with the realms in it.
type users struct {
	*auth.File
	path   string
	realms atomic.Pointer[[]string]
}

func openUsers(path string) (*users, error) {
	f, err := auth.OpenFile(path)
	if err != nil {
		return nil, err
	}
	u := &users{File: f, path: path}
	return u, u.readRealms()
}

func (u *users) reload() error {
	if err := u.Reload(); err != nil {
		return err
	}
	return u.readRealms()
}

func (u *users) readRealms() error {
	text, err := os.ReadFile(u.path)
	if err != nil {
		return err
	}
	var list []string
	seen := map[string]bool{}
	for line := range bytes.Lines(text) {
		if fields := strings.Split(string(line), ":"); len(fields) > 2 && line[0] != '#' && !seen[fields[1]] {
			seen[fields[1]] = true
			list = append(list, fields[1])
		}
	}
	u.realms.Store(&list)
	return nil
}

// realm is the protection space of a request: the domain that the caller claims (for REGISTER the one he registers in) if the file has users for it, the
// only realm in the file when there is one, else the first domain.
func (p *proxy) realm(r *sipproxy.Request) string {
	if p.users == nil {
		return p.c.domain()
	}
	named := r.From
	if r.Method == sip.REGISTER {
		named = r.To
	}
	realms := *p.users.realms.Load()
	if n, err := named(); err == nil {
		for _, realm := range realms {
			if strings.EqualFold(realm, strings.TrimSuffix(n.URI.Host, ".")) {
				return realm
			}
		}
	}
	if len(realms) == 1 {
		return realms[0]
	}
	return p.c.domain()
}
