package rtprelay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// mediaTags are the two tags of stream number, the one of the party meant first.
func mediaTags(r Ref, answerer bool, number int) (string, error) {
	first, second := r.FromTag, r.ToTag
	if answerer {
		first, second = second, first
	}
	if err := checkRef(r, first); err != nil {
		return "", err
	}
	b := appendTag(nil, first, number)
	if second != "" {
		b = appendTag(b, second, number)
	}
	return string(b), nil
}

// simple sends a command that is answered with 0.
func (e *RTPProxy) simple(ctx context.Context, need capability, command string) error {
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return err
	}
	if need != 0 && !caps.has(need) {
		return fmt.Errorf("%w: %s", ErrUnsupported, command[:1])
	}
	reply, err := e.command(ctx, command)
	if code, ok := replyCode(reply); ok && (code == 0 || code == 8) { // does not know the command, in RTPProxy's words and rtpengine's
		return fmt.Errorf("%w: %s", ErrUnsupported, command[:1])
	}
	if err == nil && reply != "0" {
		err = e.odd(reply, command[:1])
	}
	return err
}

// Play plays file.PT, for the first payload type PT that the party has agreed to and that exists on the relay's disk, over the first stream. The party
// must have been offered or answered for through a relay that knows codecs (20081102), else its PCMU and PCMA files are tried.
func (e *RTPProxy) Play(ctx context.Context, r Ref, toAnswerer bool, file string, times int) error {
	tags, err := mediaTags(r, toAnswerer, 1)
	if err != nil {
		return err
	}
	if !isWord(file) {
		return &RefusedError{Code: "input", Reason: "file name"}
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return err
	}
	codecs := "session"
	if !caps.has(capCodecs) {
		codecs = "0,8"
	}
	switch {
	case times == 0:
		times = 1
	case times < 0:
		times = -1
	}
	return e.simple(ctx, 0, "P"+strconv.Itoa(times)+" "+sessionID(r)+" "+file+" "+codecs+tags)
}

// Stop ends Play.
func (e *RTPProxy) Stop(ctx context.Context, r Ref, toAnswerer bool) error {
	tags, err := mediaTags(r, toAnswerer, 1)
	if err != nil {
		return err
	}
	return e.simple(ctx, 0, "S "+sessionID(r)+tags)
}

// Record writes all streams of both parties to the relay's disk.
func (e *RTPProxy) Record(ctx context.Context, r Ref) error {
	tags, err := plainTags(r)
	if err != nil {
		return err
	}
	verb := "R "
	if e.SingleFile {
		verb = "Rs "
	}
	return e.simple(ctx, 0, verb+sessionID(r)+tags)
}

// StopRecord ends Record (20200226).
func (e *RTPProxy) StopRecord(ctx context.Context, r Ref) error {
	tags, err := plainTags(r)
	if err != nil {
		return err
	}
	return e.simple(ctx, capStopRecord, "Na "+sessionID(r)+tags)
}

func plainTags(r Ref) (string, error) {
	if err := checkRef(r, r.FromTag); err != nil {
		return "", err
	}
	if r.ToTag == "" {
		return " " + r.FromTag, nil
	}
	return " " + r.FromTag + " " + r.ToTag, nil
}

// Copy sends what one party sends on stream (from 1) to target as well: "udp:host:port" or the name of a file at the relay.
func (e *RTPProxy) Copy(ctx context.Context, r Ref, answerer bool, stream int, target string) error {
	tags, err := mediaTags(r, answerer, stream)
	if err != nil {
		return err
	}
	if !isWord(target) || stream < 1 {
		return &RefusedError{Code: "input", Reason: "copy target"}
	}
	return e.simple(ctx, capCopy, "C "+sessionID(r)+" "+target+tags)
}

// CopyPort is Copy to "udp:host:port" that tells from where the copies come (20250523).
func (e *RTPProxy) CopyPort(ctx context.Context, r Ref, answerer bool, stream int, target string) (netip.AddrPort, error) {
	tags, err := mediaTags(r, answerer, stream)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if !isWord(target) || !strings.HasPrefix(target, "udp:") || stream < 1 {
		return netip.AddrPort{}, &RefusedError{Code: "input", Reason: "copy target"}
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if !caps.has(capCopyPort) {
		return netip.AddrPort{}, fmt.Errorf("%w: copy port", ErrUnsupported)
	}
	reply, err := e.command(ctx, "CP "+sessionID(r)+" "+target+tags)
	if err != nil {
		return netip.AddrPort{}, err
	}
	s, why := parseStream(reply, e.Default)
	if why != "" {
		return netip.AddrPort{}, e.odd(reply, why)
	}
	return netip.AddrPortFrom(s.Addr, s.Port), nil
}

// Query adds up the packets of all streams, and those lost where the relay counts them (20230205) and ToTag is known. It does not tell bytes, and jitter only in
// units of the RTP timestamp, of which it does not say how long they are: see QueryCounters, rtpa_jlast.
func (e *RTPProxy) Query(ctx context.Context, r Ref) (Stats, error) {
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return Stats{}, err
	}
	if !caps.has(capQuery) { // and never to rtpengine, whose threads hang for good after it
		return Stats{}, fmt.Errorf("%w: query", ErrUnsupported)
	}
	var sum Stats
	found := false
	for number := 1; number <= maxMedia; number++ { // m= lines with port 0 have no session
		tags, err := mediaTags(r, false, number)
		if err != nil {
			return Stats{}, err
		}
		reply, err := e.command(ctx, "Q "+sessionID(r)+tags)
		if errors.Is(err, ErrNoSession) {
			if found || number == 4 {
				break
			}
			continue
		}
		if err != nil {
			return Stats{}, err
		}
		v, ok := numbers(reply, 5)
		if !ok {
			return Stats{}, e.odd(reply, "query")
		}
		found = true
		sum.Packets[0] += v[1]
		sum.Packets[1] += v[2]
		sum.Dropped += v[4]
		if caps.has(capLost) && r.ToTag != "" {
			e.lost(ctx, r, number, &sum)
		}
	}
	if !found {
		return Stats{}, ErrNoSession
	}
	return sum, nil
}

// lost asks for the losses of one stream, of either party: the counters are those of the first tag. What fails is left out.
func (e *RTPProxy) lost(ctx context.Context, r Ref, number int, sum *Stats) {
	for side := range sum.Lost {
		tags, err := mediaTags(r, side == 1, number)
		if err != nil {
			return
		}
		reply, err := e.command(ctx, "Q "+sessionID(r)+tags+" rtpa_nlost")
		if err != nil {
			return
		}
		if v, err := strconv.ParseUint(reply, 10, 64); err == nil {
			sum.Lost[side] += v
		}
	}
}

// numbers reads exactly n decimal words; the first may be negative (a session about to end) and counts as 0 then.
func numbers(reply string, n int) ([]uint64, bool) {
	w := strings.Fields(reply)
	if len(w) != n {
		return nil, false
	}
	v := make([]uint64, n)
	for i, s := range w {
		if i == 0 && strings.HasPrefix(s, "-") {
			continue
		}
		x, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, false
		}
		v[i] = x
	}
	return v, true
}

// QueryCounters asks for named counters of one stream (20150420): npkts_ina, rtpa_nlost ...
func (e *RTPProxy) QueryCounters(ctx context.Context, r Ref, stream int, names ...string) (map[string]string, error) {
	tags, err := mediaTags(r, false, stream)
	if err != nil {
		return nil, err
	}
	if r.ToTag == "" {
		return nil, &RefusedError{Code: "input", Reason: "named counters need both tags"}
	}
	return e.named(ctx, capQuery, "Qv "+sessionID(r)+tags, names)
}

// Statistics asks for counters of the whole relay (20141004): nsess_created, npkts_relayed ...
func (e *RTPProxy) Statistics(ctx context.Context, names ...string) (map[string]string, error) {
	return e.named(ctx, capCounters, "Gv", names)
}

func (e *RTPProxy) named(ctx context.Context, need capability, command string, names []string) (map[string]string, error) {
	for _, n := range names {
		if !isWord(n) {
			return nil, &RefusedError{Code: "input", Reason: "counter name"}
		}
		command += " " + n
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	caps, err := e.capabilities(ctx)
	if err != nil {
		return nil, err
	}
	if !caps.has(need) {
		return nil, fmt.Errorf("%w: statistics", ErrUnsupported)
	}
	reply, err := e.command(ctx, command)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, w := range strings.Fields(reply) {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, e.odd(reply, "no name=value")
		}
		all[name] = value
	}
	return all, nil
}

// Info is the relay's own report, several lines for people. Over a lasting connection it would be mistaken for several replies: ErrUnsupported.
func (e *RTPProxy) Info(ctx context.Context) (string, error) {
	ctl, err := e.control()
	if err != nil {
		return "", err
	}
	if _, lasting := ctl.(*pipeline); lasting {
		return "", fmt.Errorf("%w: info over a lasting connection", ErrUnsupported)
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	return e.command(ctx, "Il")
}

// Command sends one command line as it is, without cookie, and gives the reply: for what has no method here ("Q call f;1 t;1 && D"). E replies are errors.
func (e *RTPProxy) Command(ctx context.Context, line string) (string, error) {
	if strings.ContainsAny(line, "\r\n\x00") || strings.TrimSpace(line) == "" {
		return "", &RefusedError{Code: "input", Reason: "command"}
	}
	ctx, cancel := e.budget(ctx)
	defer cancel()
	return e.command(ctx, line)
}

// DeleteEverything ends every session of the relay, also those of other proxies. Only an operator may want that.
func (e *RTPProxy) DeleteEverything(ctx context.Context) error { return e.simple(ctx, 0, "X") }
