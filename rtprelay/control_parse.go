package rtprelay

import (
	"net/netip"
	"strconv"
	"strings"
)

// controlCode is an error number of the protocol.
type controlCode int

const (
	codeNone     controlCode = -1
	codeUnknown  controlCode = 0
	codeWords    controlCode = 1
	codeMods     controlCode = 2
	codeSub      controlCode = 3
	codeEmpty    controlCode = 5
	codeModN     controlCode = 6
	codeModR     controlCode = 7
	codeModD     controlCode = 8
	codeModG     controlCode = 9
	codeQuoting  controlCode = 10
	codeExternal controlCode = 11
	codeInternal controlCode = 12
	codeCut      controlCode = 13
	codeCodecs   controlCode = 14
	codeLocal    controlCode = 15
	codeRoute    controlCode = 16
	codeCount    controlCode = 17
	codeModI     controlCode = 18
	codeModQ     controlCode = 19
	codeNoLocal  controlCode = 31
	codeNoRoute  controlCode = 32
	codeModU     controlCode = 35
	codeFamily   controlCode = 36
	codeAddress  controlCode = 37
	codeSession  controlCode = 50
	codePlayer   controlCode = 60
	codeCounter  controlCode = 62
	codeCopy     controlCode = 65
	codeStat     controlCode = 68
	codePorts    controlCode = 72
	codeNotify   controlCode = 75
	codeMemory   controlCode = 81
	codeFull     controlCode = 98
	codeDraining controlCode = 99
)

func (c controlCode) String() string { return "E" + strconv.Itoa(int(c)) }

const maxWords = 24 // RTPProxy's limit, sub-commands included

// controlCommand is a command line taken apart: <letter><modifiers> <word>... [&& <sub-command>].
type controlCommand struct {
	verb byte // upper case
	mods string
	args []string
	subs []subCommand
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// cutWord splits off the first word.
func cutWord(s string) (word, rest string) {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func parseControl(line string) (controlCommand, controlCode) {
	var words []string
	for {
		w, rest := cutWord(line)
		if w == "" {
			break
		}
		if len(words) == maxWords || strings.IndexByte(w, 0) >= 0 {
			return controlCommand{}, codeWords
		}
		words, line = append(words, w), rest
	}
	if len(words) == 0 {
		return controlCommand{}, codeEmpty
	}
	c := controlCommand{verb: upper(words[0][0]), mods: words[0][1:], args: words[1:]}
	return c.split()
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 32
	}
	return c
}

// controlTag is a tag with the number of its stream; 0: not said.
type controlTag struct {
	tag   string
	media int
}

func parseTag(s string) controlTag {
	tag, number, ok := strings.Cut(s, ";")
	if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil {
		return controlTag{tag, int(n)}
	}
	return controlTag{s, 0}
}

// updateMods are the modifiers of U and L.
type updateMods struct {
	asym, weak, six, fresh bool
	sides                  string // e and i in the order given
	cut                    int    // milliseconds
	codecs                 string
	local, label, route    string
}

func parseUpdateMods(s string) (m updateMods, code controlCode) {
	for s != "" {
		c, n := upper(s[0]), 1
		switch c {
		case 'A':
			m.asym = true
		case 'S':
			m.asym = false
		case 'W':
			m.weak = true
		case '6':
			m.six = true
		case 'N':
			m.fresh = true
		case 'E', 'I':
			if m.sides += string(c); len(m.sides) > 2 {
				return m, codeExternal
			}
		case 'Z':
			n += span(s[1:], "0123456789")
			m.cut, _ = strconv.Atoi(s[1:min(n, 8)])
			if m.cut < 1 || m.cut > 999 {
				return m, codeCut
			}
		case 'C':
			n += span(s[1:], "0123456789,")
			if m.codecs = strings.ReplaceAll(strings.Trim(s[1:n], ","), ",", " "); m.codecs == "" {
				return m, codeCodecs
			}
		case 'L', 'R':
			size, ok := m.place(c, s[1:])
			if !ok {
				return m, codeLocal + controlCode(b2i(c == 'R'))
			}
			n += size
		default:
			return m, codeModU
		}
		s = s[n:]
	}
	return m, codeNone
}

// place reads what follows l or r: an address, or for l a {label}.
func (m *updateMods) place(c byte, s string) (size int, ok bool) {
	if c == 'L' && strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 2 {
			return 0, false
		}
		m.label = s[1:end]
		return end + 1, true
	}
	for n := span(s, "0123456789abcdefABCDEF.:"); n > 0; n-- { // letters may belong to the next modifier
		if _, err := netip.ParseAddr(s[:n]); err == nil {
			if c == 'L' {
				m.local = s[:n]
			} else {
				m.route = s[:n]
			}
			return n, true
		}
	}
	return 0, false
}

func span(s, set string) int {
	n := 0
	for n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// unquote decodes the %XX of a notify tag.
func unquote(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b, i = append(b, byte(n)), i+2
	}
	return string(b), true
}
