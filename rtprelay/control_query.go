package rtprelay

import (
	"strconv"
	"strings"
	"time"
)

// sessionCounter reads a named counter of Q. "a" and rtpa are the party of the first tag.
func sessionCounter(s *relaySession, side uint8, name string) (uint64, bool) {
	a, o := &s.sides[side], &s.sides[1-side]
	switch name {
	case "ttl":
		left := allowance(s.state(), s.embedded.set, s.ttl) - time.Duration(s.loop.now()-s.last)
		return uint64(max(0, left+time.Second-1) / time.Second), true
	case "npkts_ina":
		return a.packets, true
	case "npkts_ino":
		return o.packets, true
	case "nrelayed":
		return s.count.relayed, true
	case "ndropped":
		return s.count.dropped(), true
	case "rtpa_nrcvd":
		return uint64(a.recv.received), true
	case "rtpa_nsent":
		return uint64(a.recv.received) + a.recv.totalLost(), true
	case "rtpa_nlost":
		return a.recv.totalLost(), true
	case "rtpa_ndups":
		return uint64(a.recv.repeats), true
	case "rtpa_perrs":
		return s.count.malformed, true
	}
	return 0, false
}

var sessionCounters = [...]string{"ttl", "npkts_ina", "npkts_ino", "nrelayed", "ndropped"}

func (c *Control) query(cmd controlCommand) (string, controlCode) {
	verbose := strings.EqualFold(cmd.mods, "v")
	if cmd.mods != "" && !verbose {
		return "", codeModQ
	}
	if len(cmd.args) < 2 {
		return "", codeWords
	}
	unlock, code := c.lock()
	if code != codeNone {
		return "", code
	}
	defer unlock()
	s, side := c.session(cmd.args[0], cmd.args[1:])
	if s == nil {
		return "", codeSession
	}
	reply, code := c.counters(s, side, cmd, verbose)
	if code != codeNone {
		return "", code
	}
	return c.follow(s, side, cmd, reply)
}

func (c *Control) counters(s *relaySession, side uint8, cmd controlCommand, verbose bool) (string, controlCode) {
	names := sessionCounters[:]
	if len(cmd.args) > 3 {
		names = cmd.args[3:]
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	return listed(names, verbose, codeCounter, func(b []byte, name string) ([]byte, bool) {
		v, ok := sessionCounter(s, side, name)
		return strconv.AppendUint(b, v, 10), ok
	})
}

// listed writes values, with their names if asked to.
func listed(names []string, verbose bool, unknown controlCode, value func([]byte, string) ([]byte, bool)) (string, controlCode) {
	var b []byte
	for i, name := range names {
		if i > 0 {
			b = append(b, ' ')
		}
		if verbose {
			b = append(append(b, name...), '=')
		}
		var ok bool
		if b, ok = value(b, name); !ok {
			return "", unknown
		}
	}
	return string(b), codeNone
}

func (c *Control) info(cmd controlCommand) (string, controlCode) {
	mods := strings.ToLower(cmd.mods)
	if strings.Trim(mods, "bl") != "" {
		return "", codeModI
	}
	if len(cmd.args) > 0 {
		return "", codeWords
	}
	n := c.Engine.Counters()
	b := append([]byte("sessions created: "), strconv.FormatUint(n.Created, 10)...)
	b = strconv.AppendInt(append(b, "\nactive sessions: "...), int64(n.Sessions), 10)
	b = strconv.AppendInt(append(b, "\nactive streams: "...), int64(2*n.Sessions), 10)
	b = strconv.AppendUint(append(b, "\npackets received: "...), n.Packets, 10)
	b = strconv.AppendUint(append(b, "\npackets transmitted: "...), n.Relayed, 10)
	if strings.Contains(mods, "l") {
		b = append(b, "\naverage load: 0.000000"...) // RTPProxy's measure of its own loop
	}
	return string(b), codeNone
}

func (c *Control) statistics(cmd controlCommand) (string, controlCode) {
	verbose := strings.EqualFold(cmd.mods, "v")
	if cmd.mods != "" && !verbose {
		return "", codeModG
	}
	n := c.Engine.Counters()
	return listed(cmd.args, verbose, codeStat, func(b []byte, name string) ([]byte, bool) {
		if name == "total_duration" {
			return strconv.AppendFloat(b, n.Duration.Seconds(), 'f', 6, 64), true
		}
		v, ok := c.statistic(&n, name)
		return strconv.AppendUint(b, v, 10), ok
	})
}

func (c *Control) statistic(n *Counters, name string) (uint64, bool) {
	switch name {
	case "nsess_created":
		return n.Created, true
	case "nsess_destroyed":
		return n.Created - uint64(n.Sessions), true
	case "nsess_timeout":
		return n.TimedOut, true
	case "nsess_complete":
		return n.Complete, true
	case "npkts_rcvd":
		return n.Packets, true
	case "npkts_relayed":
		return n.Relayed, true
	case "npkts_played":
		return n.Played, true
	case "npkts_resizer_in":
		return n.resizedIn, true
	case "npkts_resizer_out":
		return n.resizedOut, true
	case "npkts_discard":
		return n.Strangers + n.Flooded + n.Malformed + n.Undeliverable, true
	case "ncmds_rcvd":
		return c.count.received + c.count.repeated, true
	case "ncmds_rcvd_ndups":
		return c.count.repeated, true
	case "ncmds_succd":
		return c.count.succeeded, true
	case "ncmds_errs":
		return c.count.failed, true
	case "ncmds_repld":
		return c.count.succeeded + c.count.failed + c.count.repeated, true
	}
	return 0, false
}
