package auth

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// A File is a Source read from a text file with a user a line:
//
//	user:realm:HA1-md5[:HA1-sha256[:HA1-sha512-256]]
//
// What htdigest(1) writes is such a file. A hash that is not known may be left empty; empty lines and lines that start with '#' do not
// count. Make it with OpenFile.
type File struct {
	path  string
	table atomic.Pointer[table]
}

// OpenFile reads a file. The error names every mistake in it with its line.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again. When it has a mistake the users stay as they were; the error names every one. It may be called while the source is in use.
func (f *File) Reload() error {
	in, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	defer in.Close()
	t, err := readUsers(in, f.path)
	if err != nil {
		return err
	}
	f.table.Store(t)
	return nil
}

// Len is the number of users.
func (f *File) Len() int { return len(f.table.Load().users) }

// Secret is Source.Secret.
func (f *File) Secret(_ context.Context, realm, user string) (Secret, error) {
	return f.table.Load().users[userKey{realm, user}], nil
}

// Algorithms is Source.Algorithms: MD5 for a realm without users.
func (f *File) Algorithms(realm string) Algorithms { return f.table.Load().algorithms(realm) }

// Waits is Waiter.Waits: never.
func (f *File) Waits() bool { return false }

func readUsers(in io.Reader, name string) (*table, error) {
	t := new(table)
	var errs []error
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.addLine(line); err != nil {
			errs = append(errs, fmt.Errorf("auth: %s:%d: %w", name, n, err))
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("auth: %s: %w", name, err))
	}
	for realm := range t.realms {
		if t.algorithms(realm) == 0 {
			errs = append(errs, fmt.Errorf("auth: %s: realm %q: its users have no algorithm in common, so none can be offered", name, realm))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

var (
	errLine   = errors.New("want user:realm:HA1-md5[:HA1-sha256[:HA1-sha512-256]]")
	errNoHash = errors.New("no hash")
	errTwice  = errors.New("user and realm appear twice")
)

func (t *table) addLine(line string) error {
	user, rest, _ := strings.Cut(line, ":")
	realm, hashes := cutHashes(rest)
	if user == "" || realm == "" || len(hashes) == 0 {
		return errLine
	}
	var s Secret
	for i, to := range []*string{&s.MD5, &s.SHA256, &s.SHA512256}[:len(hashes)] {
		want := [...]Algorithms{MD5, SHA256, SHA512256}[i]
		h := strings.ToLower(hashes[i])
		if h == "" {
			continue
		}
		if _, err := hex.DecodeString(h); err != nil || len(h) != want.hexLen() {
			return fmt.Errorf("the %s hash is not %d hexadecimal digits", want.name(), want.hexLen())
		}
		*to = h
	}
	if s == (Secret{}) {
		return errNoHash
	}
	if _, dup := t.users[userKey{realm, user}]; dup {
		return errTwice
	}
	t.set(realm, user, s)
	return nil
}

// cutHashes splits the realm, which may hold colons ("[2001:db8::1]", "sip.example.com:5070"), from the one to three hashes behind it: a part
// that can be no hash, seen from the end, belongs to the realm.
func cutHashes(s string) (realm string, hashes []string) {
	parts := strings.Split(s, ":")
	first := len(parts) - 1 // the last part is a hash, good or bad
	for first > 1 && len(parts)-first < 3 && hashLike(parts[first-1]) {
		first--
	}
	if first < 1 {
		return s, nil
	}
	return strings.Join(parts[:first], ":"), parts[first:]
}

func hashLike(s string) bool { return s == "" || len(s) == 32 || len(s) == 64 }
