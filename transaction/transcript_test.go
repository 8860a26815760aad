package transaction

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// TestTranscripts plays the scenarios in testdata. Lines that begin in the
// first column are input, the indented ones below are what the machine did:
//
//	## title
//	invite client, udp                       which machine, over what
//	at 0s: request from TU                   an event; before it every deadline up to its time is served
//	    0s      request from TU: send | Calling, next 500ms
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			got, seen := play(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(name, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(text), got, "run with -update and read the difference")
			requireAllSeen(t, seen)
		})
	}
}

// play runs the input lines of a file and returns it with new output lines, and what of which machine was seen.
func play(t *testing.T, text string) (string, map[string]bool) {
	var out strings.Builder
	seen := map[string]bool{}
	var p *player
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") {
			continue
		}
		out.WriteString(line)
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "at "):
			at, event, ok := strings.Cut(line[3:], ": ")
			require.True(t, ok, line)
			d, err := time.ParseDuration(at)
			require.NoError(t, err, line)
			p.play(t, Instant(d), event)
			p.flush(&out)
		default:
			p = newPlayer(t, line, seen)
		}
	}
	return out.String(), seen
}

type player struct {
	kind  string
	m     machine
	t     Timers
	seen  map[string]bool
	lines []string
}

func newPlayer(t *testing.T, line string, seen map[string]bool) *player {
	kind, over, ok := strings.Cut(line, ", ")
	require.True(t, ok, line)
	p := &player{kind: kind, t: Timers{}.withDefaults(), seen: seen}
	switch over {
	case "udp":
	case "tcp":
		p.m.reliable = true
	default:
		t.Fatal(line)
	}
	switch kind {
	case "invite server":
		(*inviteServer)(&p.m).start()
	case "non-invite server":
		(*nonInviteServer)(&p.m).start()
	case "invite client", "non-invite client":
	default:
		t.Fatal(line)
	}
	return p
}

func (p *player) play(t *testing.T, at Instant, event string) {
	for d := p.m.deadline(); d != 0 && d <= at; d = p.m.deadline() {
		name := p.timerName(d)
		p.saw(name)
		p.show(d, name, p.timeout(d))
	}
	p.saw(event)
	if event != "nothing" {
		p.show(at, event, p.event(t, at, event))
	}
}

// saw notes the state and the event: "Calling: response 1xx".
func (p *player) saw(event string) {
	if f := strings.Fields(event); len(f) > 1 {
		if code := f[len(f)-1]; len(code) == 3 && code[0] >= '1' && code[0] <= '6' {
			class := map[bool]string{true: code[:1] + "xx", false: "3xx-6xx"}[code[0] < '3']
			event = strings.TrimSuffix(event, code) + class
		}
	}
	over := map[bool]string{true: "tcp", false: "udp"}[p.m.reliable]
	p.seen[fmt.Sprintf("%s: %s: %s", p.kind, stateName(p.m.state), event)] = true
	p.seen[fmt.Sprintf("%s over %s: %s: %s", p.kind, over, stateName(p.m.state), event)] = true
}

func (p *player) timeout(now Instant) action {
	switch p.kind {
	case "invite client":
		return (*inviteClient)(&p.m).timeout(now, &p.t)
	case "non-invite client":
		return (*nonInviteClient)(&p.m).timeout(now, &p.t)
	case "invite server":
		return (*inviteServer)(&p.m).timeout(now, &p.t)
	}
	return (*nonInviteServer)(&p.m).timeout(now, &p.t)
}

func (p *player) event(t *testing.T, now Instant, event string) action {
	word := strings.Fields(event)
	code, _ := strconv.Atoi(word[len(word)-1])
	switch p.kind + ": " + strings.TrimSpace(strings.TrimSuffix(event, strconv.Itoa(code))) {
	case "invite client: request from TU":
		return (*inviteClient)(&p.m).start(now, &p.t)
	case "invite client: response":
		return (*inviteClient)(&p.m).response(now, code, &p.t)
	case "invite client: CANCEL from TU":
		return (*inviteClient)(&p.m).cancelled(now, &p.t)
	case "invite client: transport error":
		return (*inviteClient)(&p.m).transportError()
	case "non-invite client: request from TU":
		return (*nonInviteClient)(&p.m).start(now, &p.t)
	case "non-invite client: response":
		return (*nonInviteClient)(&p.m).response(now, code, &p.t)
	case "non-invite client: transport error":
		return (*nonInviteClient)(&p.m).transportError()
	case "invite server: copy of the request":
		return (*inviteServer)(&p.m).request()
	case "invite server: ACK":
		return (*inviteServer)(&p.m).ack(now, &p.t)
	case "invite server: TU responds":
		return (*inviteServer)(&p.m).respond(now, code, &p.t)
	case "invite server: transport error":
		return (*inviteServer)(&p.m).transportError()
	case "non-invite server: copy of the request":
		return (*nonInviteServer)(&p.m).request()
	case "non-invite server: TU responds":
		return (*nonInviteServer)(&p.m).respond(now, code, &p.t)
	case "non-invite server: transport error":
		return (*nonInviteServer)(&p.m).transportError()
	}
	t.Fatalf("no such event: %s", event)
	return 0
}

func (p *player) show(at Instant, event string, a action) {
	next := ""
	if d := p.m.deadline(); d != 0 {
		next = fmt.Sprintf(", next %s", time.Duration(d))
	}
	p.lines = append(p.lines, fmt.Sprintf("    %-8s %s: %s | %s%s\n", time.Duration(at), event, p.actions(a), stateName(p.m.state), next))
}

func (p *player) flush(out *strings.Builder) {
	for _, l := range p.lines {
		out.WriteString(l)
	}
	p.lines = nil
}

func (p *player) actions(a action) string {
	var l []string
	for i, name := range []string{"send", "send again", "send ACK", "send CANCEL", "pass to TU", "tell TU: timeout", "tell TU: transport error", "end"} {
		if a.has(1 << i) {
			l = append(l, name)
		}
	}
	if l == nil {
		return "-"
	}
	return strings.Join(l, ", ")
}

func stateName(s state) string {
	return [...]string{"(new)", "Calling", "Trying", "Proceeding", "Completed", "Confirmed", "Accepted", "Terminated"}[s]
}

// timerName is what Appendix A calls the deadline d.
func (p *player) timerName(d Instant) string {
	again := d == p.m.resend
	switch p.kind + " " + stateName(p.m.state) {
	case "invite client Calling":
		return pick(again && d != p.m.expire, "timer A", "timer B")
	case "invite client Proceeding":
		return "64*T1 after CANCEL"
	case "invite client Completed":
		return "timer D"
	case "invite client Accepted":
		return "timer M"
	case "non-invite client Trying", "non-invite client Proceeding":
		return pick(again && d != p.m.expire, "timer E", "timer F")
	case "non-invite client Completed":
		return "timer K"
	case "invite server Completed":
		return pick(again && d != p.m.expire, "timer G", "timer H")
	case "invite server Confirmed":
		return "timer I"
	case "invite server Accepted":
		return "timer L"
	case "non-invite server Completed":
		return "timer J"
	}
	return "?"
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// requireAllSeen fails unless every event was tried in every state of the machine, and every timer fired.
func requireAllSeen(t *testing.T, seen map[string]bool) {
	t.Helper()
	responses := []string{"response 1xx", "response 2xx", "response 3xx-6xx", "transport error"}
	answers := []string{"TU responds 1xx", "TU responds 2xx", "TU responds 3xx-6xx", "copy of the request", "transport error"}
	want := func(kind string, states []string, events []string, timers ...string) {
		if !anyPrefix(seen, kind+": ") {
			return
		}
		for _, s := range states {
			for _, e := range events {
				require.True(t, seen[kind+": "+s+": "+e], "%s: %s: %s is missing", kind, s, e)
			}
		}
		for _, s := range timers {
			require.True(t, seen[kind+" "+s], "%s %s is missing", kind, s)
		}
	}
	want("invite client", []string{"Calling", "Proceeding", "Completed", "Accepted"}, append(responses, "CANCEL from TU"),
		"over udp: Calling: timer A", "over udp: Calling: timer B", "over tcp: Calling: timer B", "over udp: Completed: timer D",
		"over udp: Accepted: timer M", "over tcp: Accepted: timer M", "over udp: Proceeding: 64*T1 after CANCEL",
		"over tcp: Calling: response 3xx-6xx", "over tcp: Proceeding: response 3xx-6xx", "over tcp: Proceeding: transport error")
	want("non-invite client", []string{"Trying", "Proceeding", "Completed"}, responses,
		"over udp: Trying: timer E", "over udp: Trying: timer F", "over udp: Proceeding: timer E", "over udp: Proceeding: timer F",
		"over udp: Completed: timer K", "over tcp: Trying: timer F", "over tcp: Trying: response 2xx", "over tcp: Proceeding: response 3xx-6xx")
	want("invite server", []string{"Proceeding", "Completed", "Confirmed", "Accepted"}, append(answers, "ACK"),
		"over udp: Completed: timer G", "over udp: Completed: timer H", "over udp: Confirmed: timer I", "over udp: Accepted: timer L",
		"over tcp: Completed: timer H", "over tcp: Completed: ACK", "over tcp: Accepted: timer L")
	want("non-invite server", []string{"Trying", "Proceeding", "Completed"}, answers,
		"over udp: Completed: timer J", "over tcp: Trying: TU responds 2xx", "over tcp: Proceeding: TU responds 3xx-6xx")
}

func anyPrefix(m map[string]bool, prefix string) bool {
	for k := range m {
		if strings.HasPrefix(k, prefix) {
			return true
		}
	}
	return false
}
