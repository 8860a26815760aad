package rtprelay

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const maxCommand = 8 << 10 // the relay's own limit

// updateCommand is a U or L for one stream.
type updateCommand struct {
	verb          byte
	p             *Params
	media         *Media
	number        int // of the m= line, from 1, those with port 0 counted
	first, second string
	caps          capability
	notify        string
}

func (c *updateCommand) build() (string, error) {
	remote, err := c.p.remote(c.media)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, 160)
	b = append(b, c.verb)
	if b, err = c.modifiers(b, remote.Addr()); err != nil {
		return "", err
	}
	b = append(b, ' ')
	b = append(b, sessionID(c.p.Ref)...)
	b = append(b, ' ')
	b = remote.Addr().AppendTo(b)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(remote.Port()), 10)
	b = appendTag(b, c.first, c.number)
	if c.second != "" {
		b = appendTag(b, c.second, c.number)
	}
	if c.verb == 'U' && c.notify != "" && c.caps.has(capNotify) {
		b = append(b, ' ')
		b = append(b, c.notify...)
		b = append(b, ' ')
		b = append(b, notifyTag(c.p.Ref)...)
	}
	return c.subCommands(b)
}

// modifiers are built anew for every stream: Kamailio keeps the 6 of one stream for the next.
func (c *updateCommand) modifiers(b []byte, remote netip.Addr) ([]byte, error) {
	o := &c.p.Options
	if o.Asymmetric {
		b = append(b, 'a')
	} else {
		b = append(b, 's') // a bridging relay does not latch unless told to
	}
	if c.verb == 'U' {
		sides, err := bridge(o, remote)
		if err != nil {
			return nil, err
		}
		b = append(b, sides...)
	}
	if remote.Is6() {
		b = append(b, '6')
	}
	if o.Repacketize != 0 {
		ms := o.Repacketize / time.Millisecond
		switch {
		case ms < 1 || ms > 999:
			return nil, &RefusedError{Code: "input", Reason: "repacketization is 1 to 999 ms"}
		case !c.caps.has(capRepacketize):
			return nil, fmt.Errorf("%w: repacketization", ErrUnsupported)
		}
		b = strconv.AppendInt(append(b, 'z'), int64(ms), 10)
	}
	if c.caps.has(capCodecs) {
		b = appendCodecs(b, c.media.Formats)
	}
	if o.RTPProxy == nil {
		return b, nil
	}
	return o.RTPProxy.modifiers(b, c.caps) // last: an address must not run into a letter that could be one of its digits
}

func (o *RTPProxyOptions) modifiers(b []byte, caps capability) ([]byte, error) {
	if o.Weak {
		b = append(b, 'w')
	}
	if o.NewPort {
		if !caps.has(capNewPort) {
			return nil, fmt.Errorf("%w: new port", ErrUnsupported)
		}
		b = append(b, 'n')
	}
	if o.Local.IsValid() {
		b = o.Local.AppendTo(append(b, 'l'))
	}
	if o.Label != "" {
		if strings.ContainsAny(o.Label, "{}") || !isWord(o.Label) {
			return nil, &RefusedError{Code: "input", Reason: "label"}
		}
		if !caps.has(capLabel) {
			return nil, fmt.Errorf("%w: labelled listener", ErrUnsupported)
		}
		b = append(append(append(b, "l{"...), o.Label...), '}')
	}
	if o.RouteTo.IsValid() {
		b = o.RouteTo.AppendTo(append(b, 'r'))
	}
	return b, nil
}

// bridge gives the e and i letters: side of the party whose description it is, then the other's. When only a family change is
// wanted, the internal side is taken for the IPv4 one.
func bridge(o *Options, remote netip.Addr) (string, error) {
	if o.From == "" && o.To == "" {
		if o.IPv6 != nil && *o.IPv6 != remote.Is6() {
			if remote.Is6() {
				return "ei", nil
			}
			return "ie", nil
		}
		return "", nil
	}
	from, ok1 := side(o.From)
	to, ok2 := side(o.To)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("%w: sides %q and %q: both must be internal or external", ErrUnsupported, o.From, o.To)
	}
	return from + to, nil
}

func side(name string) (string, bool) {
	switch name {
	case "internal", "i":
		return "i", true
	case "external", "e":
		return "e", true
	}
	return "", false
}

// appendCodecs gives the relay the static and dynamic payload types, for P with "session".
func appendCodecs(b []byte, formats string) []byte {
	sep := byte('c')
	for at, n := 0, 0; n < 32; n++ {
		from, to := word(formats, at, len(formats))
		if from == to {
			break
		}
		at = to
		if pt, ok := port16(formats[from:to]); ok && pt < 128 {
			b = strconv.AppendUint(append(b, sep), uint64(pt), 10)
			sep = ','
		}
	}
	return b
}

// subCommands: && S ttl=N, && S tos=N, && Sr tos=N, && M4:1 ...
func (c *updateCommand) subCommands(b []byte) (string, error) {
	o := c.p.Options.RTPProxy
	if o == nil || c.verb != 'U' {
		return string(b), nil
	}
	if o.TTL != 0 || o.TOS != 0 || o.TOSBack != 0 {
		if !c.caps.has(capSet) {
			return "", fmt.Errorf("%w: ttl and tos", ErrUnsupported)
		}
		if o.TTL < 0 || o.TOS < 0 || o.TOS > 255 || o.TOSBack < 0 || o.TOSBack > 255 {
			return "", &RefusedError{Code: "input", Reason: "ttl or tos"}
		}
	}
	if o.TTL > 0 {
		b = strconv.AppendInt(append(b, " && S ttl="...), int64((o.TTL+time.Second-1)/time.Second), 10)
	}
	if o.TOS > 0 {
		b = strconv.AppendInt(append(b, " && S tos="...), int64(o.TOS), 10)
	}
	if o.TOSBack > 0 {
		b = strconv.AppendInt(append(b, " && Sr tos="...), int64(o.TOSBack), 10)
	}
	for _, m := range o.Modules {
		switch {
		case !isLine(m) || !isModule(m):
			return "", &RefusedError{Code: "input", Reason: "module"}
		case !c.caps.has(capSub):
			return "", fmt.Errorf("%w: modules", ErrUnsupported)
		}
		b = append(append(b, " && M"...), m...) // in one word with the numbers
	}
	return string(b), nil
}

// isModule: "4:1", and what the module wants to know.
func isModule(s string) bool {
	s, _, _ = strings.Cut(s, " ")
	module, instance, _ := strings.Cut(s, ":")
	m, ok1 := port16(module)
	i, ok2 := port16(instance)
	return ok1 && ok2 && m > 0 && i > 0
}

// isLine: words and blanks that cannot become another command.
func isLine(s string) bool {
	for w := range strings.FieldsSeq(s) {
		if w == "&&" || !isWord(w) {
			return false
		}
	}
	return strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "\r\n")
}

func appendTag(b []byte, tag string, number int) []byte {
	b = append(append(b, ' '), tag...)
	return strconv.AppendInt(append(b, ';'), int64(number), 10)
}

// sessionID names a leg at the engine: the Call-ID, with ";legN" for the branches of a fork.
func sessionID(r Ref) string {
	if r.Leg == 0 {
		return r.CallID
	}
	return r.CallID + ";leg" + strconv.Itoa(r.Leg)
}

// checkRef refuses what would break the line. first must be there.
func checkRef(r Ref, first string) error {
	switch {
	case !isWord(r.CallID) || r.CallID == "&&":
		return &RefusedError{Code: "input", Reason: "Call-ID"}
	case first == "":
		return &RefusedError{Code: "input", Reason: "no tag"}
	case !isTag(r.FromTag) || !isTag(r.ToTag):
		return &RefusedError{Code: "input", Reason: "tag"}
	case r.Leg < 0:
		return &RefusedError{Code: "input", Reason: "leg"}
	}
	return nil
}

func isTag(s string) bool {
	return s == "" || (isWord(s) && strings.IndexByte(s, ';') < 0 && s != "&&")
}

// isWord: not empty and without blanks or control characters.
func isWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}
