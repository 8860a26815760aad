package rtprelay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Offer asks the daemon for a new description.
func (e *NG) Offer(ctx context.Context, p Params) (Result, error) {
	return e.exchange(ctx, &p, "offer")
}

// Answer does the same for the answer.
func (e *NG) Answer(ctx context.Context, p Params) (Result, error) {
	return e.exchange(ctx, &p, "answer")
}

func (e *NG) exchange(ctx context.Context, p *Params, verb string) (Result, error) {
	d, err := p.description()
	if err != nil {
		return Result{}, err
	}
	offerer, answerer := p.FromTag, p.ToTag
	if p.Swap {
		offerer, answerer = answerer, offerer
	}
	o := p.Options.NG
	if o == nil {
		o = &e.Options
	}
	if err := e.ask(p, o, verb, offerer, answerer); err != nil {
		return Result{}, err
	}
	n, held := 0, false
	for i := range d.Media {
		if d.Media[i].Relayed() {
			n++
			held = held || d.Media[i].Held()
		}
	}
	if n == 0 {
		return Result{SDP: p.SDP}, nil
	}
	b := newBdict(verb)
	b.text("call-id", sessionID(p.Ref))
	b.text("from-tag", offerer)
	b.text("to-tag", answerer)
	b.text("sdp", p.SDP)
	o.write(b, p, held)
	reply, err := e.command(ctx, b)
	if err != nil {
		if verb == "offer" && p.ToTag == "" && errors.Is(err, ErrUnavailable) {
			e.abandon(ctx, p.Ref)
		}
		return Result{}, err
	}
	sdp, err := e.check(d, reply.get("sdp").str)
	if err != nil {
		return Result{}, err
	}
	if !p.Options.NoMark && !d.Marked {
		sdp += marker + d.eol()
	}
	return Result{SDP: sdp, Streams: n}, nil
}

// ask checks what is about to be asked.
func (e *NG) ask(p *Params, o *NGOptions, verb, offerer, answerer string) error {
	if err := checkRef(p.Ref, offerer); err != nil {
		return err
	}
	if verb == "answer" && answerer == "" {
		return &RefusedError{Code: "input", Reason: "answer without the answerer's tag"}
	}
	if (p.Options.From == "") != (p.Options.To == "") {
		return fmt.Errorf("%w: only one side's interface is named", ErrUnsupported)
	}
	for _, name := range []string{p.Options.From, p.Options.To} {
		if name != "" && !slices.Contains(e.Interfaces, name) {
			return fmt.Errorf("%w: interface %q is not among NG.Interfaces", ErrUnsupported, name)
		}
	}
	if !ptime(p.Options.Repacketize) {
		return &RefusedError{Code: "input", Reason: "repacketization is 1 to 999 ms"}
	}
	return o.Check()
}

// abandon removes what an offer without an answer may have left.
func (e *NG) abandon(ctx context.Context, r Ref) {
	ctx = context.WithoutCancel(ctx)
	go func() { _ = e.Delete(ctx, r) }()
}

// check looks at what the daemon wrote before anybody gets it: the same streams, each with an address and a port.
func (e *NG) check(before *Description, sdp string) (string, error) {
	after, err := ParseSDP(sdp)
	switch {
	case err != nil:
		return "", e.oddReply(sdp, "no description")
	case len(after.Media) != len(before.Media):
		return "", e.oddReply(sdp, "another number of streams")
	}
	for i := range before.Media {
		b, a := &before.Media[i], &after.Media[i]
		switch {
		case !b.Relayed() || b.Held():
		case a.Port == 0 && verbatimRefusal(b):
		case a.Port == 0:
			return "", e.oddReply(sdp, "port 0")
		case !a.Addr.IsValid() || a.Addr.IsUnspecified() || a.Addr.IsMulticast():
			return "", e.oddReply(sdp, "no usable address")
		}
	}
	if !strings.HasSuffix(sdp, "\n") {
		sdp += before.eol()
	}
	return sdp, nil
}

// verbatimRefusal: the daemon may refuse a stream that it cannot carry by port 0, which is a legal answer; not so for audio.
func verbatimRefusal(m *Media) bool { return m.Type != "audio" }

// Delete removes the leg. The daemon answers ok with a warning for a call that it does not know.
func (e *NG) Delete(ctx context.Context, r Ref) error {
	if err := checkRef(r, r.FromTag); err != nil {
		return err
	}
	b := newBdict("delete")
	b.text("call-id", sessionID(r))
	b.text("from-tag", r.FromTag)
	b.text("to-tag", r.ToTag)
	b.text("via-branch", e.Options.ViaBranch)
	switch {
	case e.Options.DeleteDelay > 0:
		b.number("delete-delay", int((e.Options.DeleteDelay+time.Second-1)/time.Second))
	case e.Options.DeleteDelay < 0:
		b.number("delete-delay", 0)
	}
	_, err := e.command(ctx, b)
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	return err
}

// Query adds up what the daemon received from each party.
func (e *NG) Query(ctx context.Context, r Ref) (Stats, error) {
	if err := checkRef(r, r.FromTag); err != nil {
		return Stats{}, err
	}
	b := newBdict("query")
	b.text("call-id", sessionID(r))
	v, err := e.command(ctx, b)
	if err != nil {
		return Stats{}, err
	}
	var s Stats
	last := int64(0)
	tags := v.get("tags")
	for i, tag := range tags.keys {
		from := 1
		if tag == r.FromTag {
			from = 0
		}
		medias := tags.list[i].get("medias")
		for j := range medias.list {
			streams := medias.list[j].get("streams")
			for k := range streams.list {
				last = max(last, addStream(&s, &streams.list[k], from))
			}
		}
	}
	if last > 0 {
		s.Idle = max(0, time.Since(time.Unix(last, 0)).Truncate(time.Second))
	}
	return s, nil
}

// addStream adds an RTP stream and says when its last packet came.
func addStream(s *Stats, v *bvalue, from int) int64 {
	flags := v.get("flags")
	rtp := false
	for i := range flags.list {
		rtp = rtp || flags.list[i].str == "RTP"
	}
	if !rtp {
		return 0
	}
	stats := v.get("stats")
	s.Packets[from] += uint64(max(0, stats.get("packets").num))
	s.Bytes[from] += uint64(max(0, stats.get("bytes").num))
	s.Dropped += uint64(max(0, stats.get("errors").num))
	return v.get("last packet").num
}

// Statistics are the daemon's own, as a tree of maps, lists, strings and int64.
func (e *NG) Statistics(ctx context.Context) (map[string]any, error) {
	v, err := e.command(ctx, newBdict("statistics"))
	if err != nil {
		return nil, err
	}
	m, _ := v.get("statistics").plain().(map[string]any)
	if m == nil {
		return nil, e.oddReply("", "no statistics")
	}
	return m, nil
}

// Play plays a file of the daemon's disk.
func (e *NG) Play(ctx context.Context, r Ref, toAnswerer bool, file string, times int) error {
	b, err := ngMedia("play media", r, toAnswerer)
	if err != nil {
		return err
	}
	if file == "" {
		return &RefusedError{Code: "input", Reason: "file name"}
	}
	b.text("file", file)
	switch {
	case times < 0:
		b.number("repeat-times", 1_000_000)
	case times > 1:
		b.number("repeat-times", times)
	}
	_, err = e.command(ctx, b)
	return err
}

// Stop ends Play.
func (e *NG) Stop(ctx context.Context, r Ref, toAnswerer bool) error {
	b, err := ngMedia("stop media", r, toAnswerer)
	if err != nil {
		return err
	}
	_, err = e.command(ctx, b)
	return err
}

// ngMedia names the party who hears: the daemon's from-tag.
func ngMedia(command string, r Ref, toAnswerer bool) (*bdict, error) {
	tag := r.FromTag
	if toAnswerer {
		tag = r.ToTag
	}
	if err := checkRef(r, tag); err != nil {
		return nil, err
	}
	b := newBdict(command)
	b.text("call-id", sessionID(r))
	b.text("from-tag", tag)
	return b, nil
}

// Record writes the call to the daemon's recording directory.
func (e *NG) Record(ctx context.Context, r Ref) error { return e.record(ctx, "start recording", r) }

// StopRecord ends Record.
func (e *NG) StopRecord(ctx context.Context, r Ref) error {
	return e.record(ctx, "stop recording", r)
}

func (e *NG) record(ctx context.Context, command string, r Ref) error {
	if err := checkRef(r, r.FromTag); err != nil {
		return err
	}
	b := newBdict(command)
	b.text("call-id", sessionID(r))
	b.text("metadata", e.Options.Metadata)
	_, err := e.command(ctx, b)
	return err
}
