package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
)

// numbers is what the file of numbers says; it is replaced whole at a reload.
type numbers struct {
	aliases registrar.Aliases
	speed   registrar.SpeedDials
	rules   []rule // the longest prefix first
}

// A rule says what becomes of the numbers with a prefix.
type rule struct {
	prefix  string
	strip   int
	add     string
	gateway sip.URI
	deny    bool
}

// noNumbers is what holds without a file: numbers that start with + or 00 go to the gateway, if there is one.
func noNumbers(gateway sip.URI) *numbers {
	n := &numbers{aliases: registrar.Aliases{}, speed: registrar.SpeedDials{}}
	if !gateway.IsZero() {
		n.rules = []rule{{prefix: "00", gateway: gateway}, {prefix: "+", gateway: gateway}}
	}
	return n
}

// readNumbers reads lines of three kinds; "#" starts a comment, names without a domain are those of domain:
//
//	alias  info              sip:bob@example.com
//	speed  alice 22          sip:+33123456789@example.com
//	prefix +33 strip=3 add=0 gateway=192.0.2.20:5060
//	prefix 0900 deny
//
// The first prefix line replaces the rules for + and 00. The error names every mistake with its line.
func readNumbers(file, domain string, gateway sip.URI) (*numbers, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	n := noNumbers(gateway)
	builtin := n.rules
	n.rules = nil
	var errs []error
	line := 0
	for s := range strings.Lines(string(text)) {
		line++
		s, _, _ = strings.Cut(s, "#")
		words := strings.Fields(s)
		if len(words) == 0 {
			continue
		}
		if err := n.line(words, domain, gateway); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, line, err))
		}
	}
	if n.rules == nil {
		n.rules = builtin
	}
	slices.SortStableFunc(n.rules, func(a, b rule) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return n, errors.Join(errs...)
}

func (n *numbers) line(w []string, domain string, gateway sip.URI) error {
	switch {
	case w[0] == "alias" && len(w) == 3:
		key, err := aor(w[1], domain)
		if err != nil {
			return err
		}
		n.aliases[key], err = leadsTo(w[2], domain)
		return err
	case w[0] == "speed" && len(w) == 4:
		key, err := aor(w[1], domain)
		if err != nil {
			return err
		}
		if n.speed[key] == nil {
			n.speed[key] = make(map[string]sip.URI)
		}
		n.speed[key][w[2]], err = leadsTo(w[3], domain)
		return err
	case w[0] == "prefix" && len(w) >= 2:
		r, err := readRule(w[1:], gateway)
		n.rules = append(n.rules, r)
		return err
	}
	return errors.New("expected alias NAME URI, speed NAME NUMBER URI, or prefix DIGITS [deny] [strip=N] [add=DIGITS] [gateway=HOST:PORT]")
}

func readRule(w []string, gateway sip.URI) (rule, error) {
	r := rule{prefix: w[0], gateway: gateway}
	if !digits(strings.TrimPrefix(r.prefix, "+")) && r.prefix != "+" {
		return r, fmt.Errorf("prefix %q is not digits, with + before them or not", w[0])
	}
	for _, option := range w[1:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "deny":
			r.deny = true
		case "strip":
			if _, err := fmt.Sscanf(value, "%d", &r.strip); err != nil || r.strip < 0 || r.strip > len(r.prefix) {
				return r, fmt.Errorf("%s: not a number of characters of the prefix", option)
			}
		case "add":
			r.add = value
		case "gateway":
			u, err := peer(value)
			if err != nil {
				return r, err
			}
			r.gateway = u
		default:
			return r, fmt.Errorf("unknown option %q", option)
		}
	}
	if r.gateway.IsZero() && !r.deny {
		return r, fmt.Errorf("prefix %s has no gateway: neither here nor by -gateway", r.prefix)
	}
	return r, nil
}

// aor is the key of a name of ours, with or without its domain.
func aor(name, domain string) (registrar.AOR, error) {
	u, err := leadsTo(name, domain)
	if err != nil || u.User == "" {
		return "", fmt.Errorf("%q is no user", name)
	}
	return registrar.AOR(sip.Unescape(u.User) + "@" + strings.ToLower(u.Host)), nil
}

// leadsTo reads a SIP URI, or user@domain, or a user of domain.
func leadsTo(s, domain string) (sip.URI, error) {
	if !strings.HasPrefix(s, "sip:") && !strings.HasPrefix(s, "sips:") {
		s = "sip:" + s
	}
	if !strings.Contains(s, "@") {
		s += "@" + domain
	}
	return sip.ParseURI(s)
}

// peer reads the address of another server: host:port, with URI parameters (";transport=tcp") or not.
func peer(s string) (sip.URI, error) {
	u, err := sip.ParseURI("sip:" + s)
	if err != nil || u.User != "" || u.Host == "" {
		return u, fmt.Errorf("%q is not host:port", s)
	}
	return u, nil
}

// rule is the one for a dialled number: digits only, with a + before them or not.
func (n *numbers) rule(number string) (rule, bool) {
	if !digits(strings.TrimPrefix(number, "+")) || len(number) > maxDigits {
		return rule{}, false
	}
	for _, r := range n.rules {
		if len(number) > len(r.prefix) && strings.HasPrefix(number, r.prefix) {
			return r, true
		}
	}
	return rule{}, false
}

// maxDigits is longer than any number of the telephone network: 15 digits (ITU-T E.164) behind prefixes.
const maxDigits = 24

// dial makes the URI for the gateway.
func (r rule) dial(number string) sip.URI {
	return r.gateway.WithUser(r.add + number[r.strip:])
}

func digits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
