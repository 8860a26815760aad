package dialog

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// A Kind says what an Event tells.
type Kind uint8

// The kinds. See the package documentation for which response means which.
const (
	Start     Kind = iota + 1 // a dialog was confirmed by a 2xx
	Stop                      // a confirmed dialog is over
	Missed                    // nobody answered, or the callee was busy
	Refused                   // the callee, or the proxy for it, did not want the call, or redirected it
	Cancelled                 // the caller gave up, or Tracker.End ended the call while it rang
	Failed                    // all other failures
)

var kindNames = [...]string{Start: "START", Stop: "STOP", Missed: "MISSED", Refused: "REFUSED", Cancelled: "CANCELLED", Failed: "FAILED"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// A Side is who did something to a call.
type Side uint8

// The sides. Proxy is us: End, MaxAge, session timer, Probe.
const (
	Caller Side = iota + 1
	Callee
	Proxy
)

var sideNames = [...]string{"", "caller", "callee", "proxy"}

func (s Side) String() string {
	if int(s) < len(sideNames) {
		return sideNames[s]
	}
	return "Side(" + strconv.Itoa(int(s)) + ")"
}

// An ID names a dialog.
type ID struct {
	CallID    string
	CallerTag string // of the party that sent the INVITE
	CalleeTag string // "" in events of calls that made no dialog
}

func (i ID) String() string { return i.CallID + ";" + i.CallerTag + ";" + i.CalleeTag }

// Media are counters of a relay; index 0 is what came from the caller, 1 what came from the callee.
type Media struct {
	Packets, Bytes, Lost [2]uint64
	Jitter               [2]time.Duration
}

// An Event is one line of accounting. Its strings are its own.
type Event struct {
	Kind Kind
	ID
	Time   time.Time // of what the event tells
	From   string    // URI of the caller
	To     string    // URI in To
	Dialed string    // Request-URI as it came, after route preprocessing
	Source string    // where the INVITE came from: "udp:192.0.2.1:5060"
	Target string    // where the answer came from; "" where not known

	Code   int    // Start: of the 2xx; Stop: of the answer to the BYE, 0 when there was none; others: the final response
	Reason string // "BYE", why the proxy ended it, or the reason phrase of Code
	By     Side   // who ended it; 0 in Start

	Invited  time.Time // arrival of the INVITE
	Ringing  time.Time // first 18x; zero: none was seen
	Answered time.Time // the 2xx; zero: none
	Ended    time.Time // zero in Start

	Setup    time.Duration // from INVITE to 2xx or failure
	Duration time.Duration // Stop: from 2xx to the end

	Media *Media // Stop, where a relay knows; else nil
}

// classify maps a final response other than 2xx to a kind; 0: no end of a call.
func classify(code int) Kind {
	switch {
	case code == 401 || code == 407:
		return 0
	case code == 487:
		return Cancelled
	case code == 408 || code == 480 || code == 486 || code == 600:
		return Missed
	case code/100 == 3, code == 402, code == 403, code == 488, code == 603, code == 606, code == 607, code == 608:
		return Refused
	}
	return Failed
}

// String is the event as one line: STOP call-id=... from-tag=...
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	e.each(func(a slog.Attr) {
		b.WriteByte(' ')
		b.WriteString(a.Key)
		b.WriteByte('=')
		v := a.Value.String()
		if a.Value.Kind() == slog.KindTime {
			v = a.Value.Time().Format(time.RFC3339Nano)
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' && a.Key == "reason" || r == 0x7f }) {
			v = strconv.Quote(v)
		}
		b.WriteString(v)
	})
	return b.String()
}

// LogValue makes the event a group of attributes for log/slog.
func (e Event) LogValue() slog.Value {
	list := make([]slog.Attr, 0, 20)
	list = append(list, slog.String("kind", e.Kind.String()))
	e.each(func(a slog.Attr) { list = append(list, a) })
	return slog.GroupValue(list...)
}

// each yields the attributes that say something.
func (e *Event) each(yield func(slog.Attr)) {
	text := func(key, v string) {
		if v != "" {
			yield(slog.String(key, v))
		}
	}
	when := func(key string, v time.Time) {
		if !v.IsZero() {
			yield(slog.Time(key, v))
		}
	}
	text("call-id", e.CallID)
	text("caller-tag", e.CallerTag)
	text("callee-tag", e.CalleeTag)
	text("from", e.From)
	text("to", e.To)
	text("dialed", e.Dialed)
	text("source", e.Source)
	text("target", e.Target)
	if e.Code != 0 {
		yield(slog.Int("code", e.Code))
	}
	text("reason", e.Reason)
	text("by", e.By.String())
	when("invited", e.Invited)
	when("ringing", e.Ringing)
	when("answered", e.Answered)
	when("ended", e.Ended)
	yield(slog.Duration("setup", e.Setup))
	if e.Kind == Stop {
		yield(slog.Duration("duration", e.Duration))
	}
	if m := e.Media; m != nil {
		yield(slog.Uint64("packets-caller", m.Packets[0]))
		yield(slog.Uint64("packets-callee", m.Packets[1]))
		yield(slog.Uint64("lost-caller", m.Lost[0]))
		yield(slog.Uint64("lost-callee", m.Lost[1]))
	}
}

// event fills in what all events of a call have in common.
func (t *Tracker) event(k Kind, c *call, now instant) Event {
	return Event{Kind: k, ID: ID{c.callID, c.tag, ""}, Time: t.at(now), From: uriOf(c.from), To: uriOf(c.to), Source: c.caller.where()}
}

// dialogEvent is event for a dialog that has been answered.
func (t *Tracker) dialogEvent(k Kind, d *dialog, now instant) Event {
	e := t.event(k, d.call, now)
	e.CalleeTag = d.tag
	e.Dialed = d.dialed
	e.Target = d.ends[1].where()
	e.Invited, e.Ringing, e.Answered = t.at(d.born), t.at(d.ringing), t.at(d.answered)
	e.Setup = time.Duration(d.answered - d.born)
	return e
}

// uriOf is the URI in a From or To value; what cannot be parsed comes as it is.
func uriOf(value string) string {
	n, err := sip.ParseNameAddr(value)
	if err != nil {
		return value
	}
	return n.URI.String()
}
