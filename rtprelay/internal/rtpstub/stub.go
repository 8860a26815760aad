// Package rtpstub is a stand-in for RTPProxy in tests. It moves no media: it answers commands as the recorded transcripts say, by the
// same session rules, and can be told to lose, delay, repeat or spoil replies.
package rtpstub

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Dates are what RTPProxy 3.2 claims.
var dates = []string{
	"20040107", "20050322", "20060704", "20071116", "20071218", "20080403", "20081102", "20081224", "20090810", "20140323", "20140617", "20141004", "20150330",
	"20150420", "20150617", "20191015", "20200226", "20230205", "20230314", "20230424", "20250523", "20251015", "20260306", "20260308", "20260309",
}

// A Listener is one -l address.
type Listener struct {
	Label     string
	Addr      netip.Addr
	Advertise netip.Addr // invalid: Addr
}

func (l *Listener) public() netip.Addr {
	if l.Advertise.IsValid() {
		return l.Advertise
	}
	return l.Addr
}

// A Relay is the stub. The zero value listens on 127.0.0.1 and claims everything but notifications.
type Relay struct {
	Listeners []Listener      // two and Bridge: internal, external
	Bridge    bool            // -l A/B
	Notify    bool            // -n was given
	Without   map[string]bool // dates not claimed
	Files     map[string]bool // "prefix.PT" that can be played

	// Fault, when it says so, answers in place of the relay. It sees the command without cookie.
	Fault func(command string) (reply string, instead bool)

	mu       sync.Mutex
	sessions []*session
	port     int
	created  int
	log      []string
}

type session struct {
	call, tag string
	port      [2]int // 0: opened by U, 1: by L
	side      [2]int // index of the listener
	strong    bool
	weak      [2]bool
	codecs    [2]bool
}

// Commands are those executed so far, without cookies and repetitions.
func (r *Relay) Commands() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.log...)
}

// Sessions counts streams held.
func (r *Relay) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Restart forgets everything.
func (r *Relay) Restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = nil
}

// Do executes one command and gives the reply without line end.
func (r *Relay) Do(command string) string {
	if r.Fault != nil {
		if reply, instead := r.Fault(command); instead {
			return reply
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, command)
	if r.Listeners == nil {
		r.Listeners = []Listener{{Addr: netip.MustParseAddr("127.0.0.1")}}
	}
	w := strings.Fields(command)
	if len(w) == 0 {
		return "E5"
	}
	parts := [][]string{nil}
	for _, x := range w {
		if x == "&&" {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], x)
	}
	if len(parts[0]) == 0 {
		return "E5"
	}
	return r.chain(parts)
}

func (r *Relay) chain(parts [][]string) string {
	main := parts[0]
	verb := main[0][0] &^ 0x20
	for _, sub := range parts[1:] {
		if verb != 'U' && verb != 'L' || len(sub) == 0 || !strings.ContainsAny(sub[0][:1], "SDML") {
			return "E3"
		}
	}
	reply := r.one(main)
	for _, sub := range parts[1:] {
		if sub[0] == "L" && len(sub) == 3 && len(main) == 6 {
			reply += " && " + r.one([]string{"L", main[1], sub[1], sub[2], main[4], main[5]})
		}
	}
	return reply
}

func (r *Relay) one(w []string) string {
	verb, mods, args := w[0][0]&^0x20, w[0][1:], w[1:]
	switch verb {
	case 'V':
		return r.version(mods, args)
	case 'U', 'L':
		return r.update(verb, strings.ToLower(mods), mods, args)
	case 'D':
		return r.remove(mods, args)
	case 'Q':
		return r.query(mods, args)
	case 'I':
		if mods != "" && mods != "b" && mods != "l" {
			return "E18"
		}
		s := fmt.Sprintf("sessions created: %d\nactive sessions: %d\nactive streams: 0\npackets received: 0\npackets transmitted: 0", r.created, len(r.sessions))
		if mods == "l" {
			s += "\naverage load: 0.000000"
		}
		return s
	case 'G':
		return r.statistics(mods, args)
	case 'X':
		r.sessions = nil
		return "0"
	case 'P', 'S', 'R', 'N', 'C':
		return r.media(verb, mods, args)
	}
	return "E0"
}

func (r *Relay) version(mods string, args []string) string {
	switch {
	case mods == "" && len(args) == 0:
		return "20040107"
	case mods == "":
		return "E1"
	case mods != "F" && mods != "f":
		return "E2"
	case len(args) != 1:
		return "E1"
	}
	for _, d := range dates {
		if d == args[0] && !r.Without[d] && (d != "20081224" || r.Notify) {
			return "1"
		}
	}
	return "0"
}

// find gives the session and whether the tags are swapped. For commands that want the media number exactly.
func (r *Relay) find(call, from, to string) (*session, bool) {
	for _, s := range r.sessions {
		if s.call == call && s.tag == from {
			return s, false
		}
	}
	for _, s := range r.sessions {
		if s.call == call && to != "" && s.tag == to {
			return s, true
		}
	}
	return nil, false
}

type modifiers struct {
	weak, v6, fresh, codecs bool
	sides                   []int
	label                   string
	local                   string
}

func (r *Relay) parse(mods, raw string) (m modifiers, fail string) {
	letters := 0
	for i := 0; i < len(mods); {
		c := mods[i]
		i++
		j := i
		switch c {
		case 'a', 's':
		case 'w':
			m.weak = true
		case 'n':
			m.fresh = true
		case '6':
			m.v6 = true
		case 'e', 'i':
			letters++
			if !r.Bridge {
				return m, map[byte]string{'e': "E11", 'i': "E12"}[c]
			}
			if letters > 2 {
				return m, "E11"
			}
			m.sides = append(m.sides, map[byte]int{'i': 0, 'e': 1}[c])
		case 'z':
			for j < len(mods) && mods[j] >= '0' && mods[j] <= '9' {
				j++
			}
			if n, err := strconv.Atoi(mods[i:j]); err != nil || n < 1 || n > 999 {
				return m, "E13"
			}
		case 'c':
			for j < len(mods) && (mods[j] >= '0' && mods[j] <= '9' || mods[j] == ',') {
				j++
			}
			if i == j {
				return m, "E14"
			}
			m.codecs = true
		case 'l', 'r':
			if c == 'l' && j < len(mods) && mods[j] == '{' {
				for j < len(mods) && mods[j] != '}' {
					j++
				}
				m.label = strings.Trim(raw[i:j], "{}")
				j++
				break
			}
			for j < len(mods) && strings.IndexByte("0123456789abcdef.:", mods[j]) >= 0 {
				j++
			}
			if i == j {
				return m, map[byte]string{'l': "E15", 'r': "E16"}[c]
			}
			if c == 'l' {
				m.local = mods[i:j]
			}
		default:
			return m, "E35"
		}
		i = j
	}
	return m, ""
}

func (r *Relay) v6Listener() int {
	for i := range r.Listeners {
		if r.Listeners[i].Addr.Is6() {
			return i
		}
	}
	return -1
}

func (r *Relay) update(verb byte, mods, raw string, args []string) string {
	if len(args) < 4 || (verb == 'U' && len(args) > 7) || (verb == 'L' && len(args) > 5) {
		return "E1"
	}
	m, fail := r.parse(mods, raw)
	if fail != "" {
		return fail
	}
	listener := 0
	if m.v6 {
		if listener = r.v6Listener(); listener < 0 {
			return "E36"
		}
	}
	if m.label != "" {
		listener = -1
		for i := range r.Listeners {
			if r.Listeners[i].Label == m.label {
				listener = i
			}
		}
		if listener < 0 {
			return "E31"
		}
	}
	if a, err := netip.ParseAddr(args[1]); err != nil || (m.v6 && !a.Is6()) {
		return "E37"
	}
	if _, err := strconv.Atoi(args[2]); err != nil {
		return "E37"
	}
	to := ""
	if len(args) == 5 || len(args) == 7 {
		to = args[4]
	}
	if len(args) > 5 {
		if _, err := url.PathUnescape(args[len(args)-1]); err != nil {
			return "E10"
		}
		if !r.Notify {
			return "E75"
		}
	}
	s, swapped := r.find(args[0], args[3], to)
	if s == nil {
		if verb == 'L' {
			return "0"
		}
		if m.local != "" && m.local != r.Listeners[0].Addr.String() {
			return "E31"
		}
		s = &session{call: args[0], tag: args[3], side: [2]int{listener, listener}}
		if len(m.sides) > 0 {
			s.side[1] = m.sides[0]
		}
		if len(m.sides) > 1 {
			s.side[0] = m.sides[1]
		}
		r.sessions = append(r.sessions, s)
		r.created++
	}
	i := 0
	if (verb == 'L') != swapped {
		i = 1
	}
	if m.weak {
		s.weak[0] = true
	} else {
		s.strong = true
	}
	if m.codecs {
		s.codecs[i] = true
	}
	if s.port[i] == 0 || m.fresh {
		r.port += 2
		s.port[i] = 36000 + r.port%20000
	}
	a := r.Listeners[s.side[i]].public()
	if a.Is6() {
		return fmt.Sprintf("%d %s 6", s.port[i], a)
	}
	return fmt.Sprintf("%d %s", s.port[i], a)
}

func base(tag string) string { b, _, _ := strings.Cut(tag, ";"); return b }

func (r *Relay) remove(mods string, args []string) string {
	if mods != "" && mods != "w" {
		return "E8"
	}
	if len(args) < 2 || len(args) > 3 {
		return "E1"
	}
	kept, hit := r.sessions[:0:0], false
	for _, s := range r.sessions {
		if s.call != args[0] || !matches(s.tag, args[1:]) {
			kept = append(kept, s)
			continue
		}
		hit = true
		if mods == "w" {
			s.weak[1] = false
		} else {
			s.strong = false
		}
		if s.strong || s.weak[0] || s.weak[1] {
			kept = append(kept, s)
		}
	}
	if !hit {
		return "E50"
	}
	r.sessions = kept
	return "0"
}

func matches(tag string, given []string) bool {
	for _, g := range given {
		if g == tag || g == base(tag) {
			return true
		}
	}
	return false
}

func (r *Relay) query(mods string, args []string) string {
	if mods != "" && mods != "v" {
		return "E19"
	}
	if len(args) < 2 {
		return "E1"
	}
	to := ""
	if len(args) > 2 {
		to = args[2]
	}
	if s, _ := r.find(args[0], args[1], to); s == nil {
		return "E50"
	}
	names := []string{"ttl", "npkts_ina", "npkts_ino", "nrelayed", "ndropped"}
	if len(args) > 3 {
		names = args[3:]
	}
	return values(names, mods == "v", "E62")
}

func (r *Relay) statistics(mods string, args []string) string {
	if mods != "" && mods != "v" {
		return "E9"
	}
	return values(args, mods == "v", "E68")
}

func values(names []string, named bool, unknown string) string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if n == "nosuch" || n == "nope" {
			return unknown
		}
		v := "0"
		if n == "total_duration" {
			v = "0.0"
		}
		if named {
			v = n + "=" + v
		}
		out = append(out, v)
	}
	return strings.Join(out, " ")
}

func (r *Relay) media(verb byte, mods string, args []string) string {
	tags, fail := 1, ""
	switch verb {
	case 'P':
		tags = 3
		if _, err := strconv.Atoi(mods); mods != "" && err != nil {
			fail = "E17"
		}
	case 'C':
		tags = 2
	case 'R':
		if mods != "" && mods != "s" {
			fail = "E7"
		}
	}
	switch {
	case fail != "":
		return fail
	case len(args) <= tags || len(args) > tags+2:
		return "E1"
	}
	var s *session
	for _, x := range r.sessions {
		if x.call == args[0] && matchesMedia(x, args[tags:]) {
			s = x
			break
		}
	}
	if s == nil {
		return "E50"
	}
	switch verb {
	case 'P':
		return r.play(s, args)
	case 'C':
		if strings.HasPrefix(args[1], "udp:") {
			a, err := netip.ParseAddrPort(args[1][4:])
			if err != nil {
				return "E65"
			}
			_ = a
			if mods == "P" {
				return "36892 " + r.Listeners[0].public().String()
			}
		}
	}
	return "0"
}

// matchesMedia: the second tag is not stored by the stub, so either of the two may be the session's.
func matchesMedia(s *session, tags []string) bool {
	for _, t := range tags {
		if t == s.tag || t == base(s.tag) {
			return true
		}
	}
	return false
}

func (r *Relay) play(s *session, args []string) string {
	owner := 0
	if args[3] != s.tag {
		owner = 1
	}
	if args[2] == "session" {
		if !s.codecs[owner] {
			return "E35"
		}
		return "0"
	}
	for _, pt := range strings.Split(args[2], ",") {
		if r.Files == nil || r.Files[args[1]+"."+pt] {
			return "0"
		}
	}
	return "E60"
}
