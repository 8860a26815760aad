package rtprelay

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// subCommand is what follows a && in a U, an L or a Q: it is about the same session.
type subCommand struct {
	verb byte // upper case
	mods string
	args []string
}

// split takes the sub-commands out of the words of c, and refuses those that are not served before anything is done.
func (c controlCommand) split() (controlCommand, controlCode) {
	i := slices.Index(c.args, "&&")
	if i < 0 {
		return c, codeNone
	}
	words := c.args[i:]
	c.args = c.args[:i:i]
	for len(words) > 0 {
		words = words[1:] // each round begins at a &&
		n := 0
		for n < len(words) && words[n] != "&&" {
			n++
		}
		if n == 0 {
			return c, codeSub
		}
		s := subCommand{upper(words[0][0]), words[0][1:], words[1:n]}
		if !s.servedAfter(c.verb) {
			return c, codeSub
		}
		c.subs, words = append(c.subs, s), words[n:]
	}
	return c, codeNone
}

func (s *subCommand) servedAfter(verb byte) bool {
	switch {
	case verb != 'U' && verb != 'L' && verb != 'Q':
		return false
	case s.verb == 'L':
		return verb == 'U' && len(s.args) == 2
	case s.verb == 'D':
		return len(s.args) == 0 && (s.mods == "" || strings.EqualFold(s.mods, "w"))
	case s.verb == 'S':
		return s.setting()
	case s.verb == 'T':
		_, ok := s.lifetime()
		return ok && len(s.args) == 0
	}
	return false
}

// lifetime reads T[r]<seconds>, what S ttl= was before 20251015.
func (s *subCommand) lifetime() (d time.Duration, ok bool) {
	digits := s.mods
	if digits != "" && upper(digits[0]) == 'R' {
		digits = digits[1:] // a session has one time to live here, not one for each direction
	}
	n, err := strconv.ParseUint(digits, 10, 24)
	return time.Duration(n) * time.Second, err == nil && n > 0
}

// setting checks the arguments of S[r].
func (s *subCommand) setting() bool {
	if len(s.args) == 0 || s.mods != "" && !strings.EqualFold(s.mods, "r") {
		return false
	}
	for _, a := range s.args {
		name, value, _ := strings.Cut(a, "=")
		n, err := strconv.ParseUint(value, 10, 24)
		if err != nil || !(name == "ttl" && n > 0 || name == "tos" && n <= 255) {
			return false
		}
	}
	return true
}

// follow runs the sub-commands of a command that was for the session, and adds those results that are not zero.
func (c *Control) follow(s *relaySession, owner uint8, cmd controlCommand, reply string) (string, controlCode) {
	for i := range cmd.subs {
		sub := &cmd.subs[i]
		switch sub.verb {
		case 'L':
			m, code := c.media(sub.mods, sub.args[0], sub.args[1])
			if code != codeNone {
				return "", code
			}
			second, code := c.apply(s, 1-owner, m)
			if code != codeNone {
				return "", code
			}
			reply += " && " + second
		case 'S':
			s.adjust(sub, owner)
		case 'T':
			s.ttl, _ = sub.lifetime()
		case 'D':
			if s.clear(sub.mods != "", owner) {
				c.Engine.remove(s)
				return reply, codeNone // nothing is left to work on
			}
		}
	}
	return reply, codeNone
}

// adjust is S: the time to live is the session's, the traffic class that of what is sent to the party of the command, with r to the other one.
func (s *relaySession) adjust(sub *subCommand, owner uint8) {
	if sub.mods != "" {
		owner = 1 - owner
	}
	for _, a := range sub.args {
		name, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		if name == "ttl" {
			s.ttl = time.Duration(n) * time.Second
			continue
		}
		s.loop.mu.Lock()
		s.sides[owner].setTOS(n)
		s.loop.mu.Unlock()
	}
}
