package siptest

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sipkit/sipkit/sip"
)

// A Ladder draws messages as arrows between columns, one a line, in the order they were added. Its zero value is ready for use;
// its methods are safe for concurrent use, its fields must not change after the first.
type Ladder struct {
	Width    int  // of the space between two columns; 34
	Color    bool // with the escape sequences of a terminal
	Messages bool // write the whole messages below the ladder

	mu      sync.Mutex
	columns []column // by Column, in order
	named   []column // by Name
	arrows  []Arrow
	streams map[streamKey]*stream
	byN     map[uint64]int
}

// An Arrow is one message, or something else that was sent.
type Arrow struct {
	Time     time.Time
	From, To netip.AddrPort
	Text     string // a whole message; its start line is the label
	Note     string // written beside the arrow: the transport, why it was lost
	Lost     bool
}

type column struct {
	name  string
	addrs []string // "192.0.2.1" or "192.0.2.1:5060"
}

// Column adds a column for addresses, with or without a port, right of the columns there are. An address without a column of its
// own gets one named after it when it first appears.
func (l *Ladder) Column(name string, addrs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.columns = append(l.columns, column{name, addrs})
}

// Name names the column of addresses and leaves its place to their first appearance.
func (l *Ladder) Name(name string, addrs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.named = append(l.named, column{name, addrs})
}

// Add adds an arrow.
func (l *Ladder) Add(a Arrow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrows = append(l.arrows, a)
}

// Len is the number of arrows.
func (l *Ladder) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.arrows)
}

// Reset removes the arrows and keeps the columns.
func (l *Ladder) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrows, l.byN = nil, nil
}

// String is the ladder as text.
func (l *Ladder) String() string {
	var b strings.Builder
	_, _ = l.WriteTo(&b) // a Builder does not fail
	return b.String()
}

// WriteTo writes the ladder.
func (l *Ladder) WriteTo(w io.Writer) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	d := l.layout()
	d.head(&b)
	for i, a := range l.arrows {
		d.arrow(&b, i+1, a)
	}
	if l.Messages {
		for i, a := range l.arrows {
			d.message(&b, i+1, a)
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// A drawing knows where the columns are.
type drawing struct {
	color   bool
	gap     int
	columns []column
	named   []column
	start   time.Time
}

// left is the space for number and time.
const left = 14

func (l *Ladder) layout() *drawing {
	d := &drawing{color: l.Color, gap: l.Width, columns: append([]column(nil), l.columns...), named: l.named}
	if d.gap == 0 {
		d.gap = 34
	}
	for i, a := range l.arrows {
		if i == 0 || a.Time.Before(d.start) {
			d.start = a.Time
		}
		d.index(a.From)
		d.index(a.To)
	}
	return d
}

// index finds the column of an address, the most exact first, and makes one when there is none.
func (d *drawing) index(at netip.AddrPort) int {
	if i := find(d.columns, at); i >= 0 {
		return i
	}
	if i := find(d.named, at); i >= 0 {
		d.columns = append(d.columns, d.named[i])
		return len(d.columns) - 1
	}
	key := at.Addr().String()
	if at.Addr().IsLoopback() { // hosts on loopback differ by port only
		key = at.String()
	}
	d.columns = append(d.columns, column{key, []string{key}})
	return len(d.columns) - 1
}

// find looks for the address with its port in all columns before it looks for the address alone.
func find(columns []column, at netip.AddrPort) int {
	for _, key := range []string{at.String(), at.Addr().String()} {
		for i, c := range columns {
			if slices.Contains(c.addrs, key) {
				return i
			}
		}
	}
	return -1
}

func (d *drawing) head(b *strings.Builder) {
	d.titles(b, func(c column) string { return c.name })
	d.titles(b, func(c column) string {
		if len(c.addrs) == 0 || c.addrs[0] == c.name {
			return ""
		}
		return c.addrs[0]
	})
}

func (d *drawing) titles(b *strings.Builder, text func(column) string) {
	line := strings.Repeat(" ", left)
	for i, c := range d.columns {
		s := cut(text(c), d.gap)
		line = pad(line, left+i*(d.gap+1)) + s
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (d *drawing) arrow(b *strings.Builder, n int, a Arrow) {
	from, to := d.index(a.From), d.index(a.To)
	lo, hi := min(from, to), max(from, to)
	line := fmt.Sprintf("%3d %8.3f  ", n, a.Time.Sub(d.start).Seconds())
	for i := 0; i < len(d.columns); {
		line += "│"
		switch {
		case i != lo:
			line += strings.Repeat(" ", d.gap)
			i++
		case lo == hi:
			line += d.paint(a, pad(cut("↺ "+label(a), d.gap), d.gap))
			i++
		default:
			line += d.paint(a, shaft(label(a), (hi-lo)*(d.gap+1)-1, from < to, a.Lost))
			i = hi
			lo = -1
		}
	}
	b.WriteString(strings.TrimRight(strings.TrimRight(line, " ")+"  "+a.Note, " ") + "\n")
}

// shaft is an arrow of a width with its label in it.
func shaft(text string, width int, right, lost bool) string {
	line := "─"
	if lost {
		line = "╌"
	}
	text = cut(text, width-6)
	rest := strings.Repeat(line, max(width-5-utf8.RuneCountInString(text), 1))
	head := ">"
	if lost {
		head = "x"
	}
	if right {
		return line + line + " " + text + " " + rest + head
	}
	if !lost {
		head = "<"
	}
	return head + line + line + " " + text + " " + rest[len(line):] + line
}

// label is the start line without what every line has, responses with their method.
func label(a Arrow) string {
	first, rest, _ := strings.Cut(a.Text, "\n")
	first = strings.TrimRight(first, "\r")
	if code, ok := strings.CutPrefix(first, "SIP/2.0 "); ok {
		if res, err := sip.ParseResponse(first + "\n" + rest); err == nil {
			if _, m, err := res.CSeq(); err == nil {
				code += " (" + string(m) + ")"
			}
		}
		return code
	}
	return strings.TrimSuffix(first, " SIP/2.0")
}

const reset = "\x1b[0m"

// paint colours by what a message means: requests cyan, progress yellow, success green, redirection magenta, failure red.
func (d *drawing) paint(a Arrow, s string) string {
	if !d.color {
		return s
	}
	color := "36"
	if code, ok := strings.CutPrefix(a.Text, "SIP/2.0 "); ok && code != "" {
		switch code[0] {
		case '1':
			color = "33"
		case '2':
			color = "32"
		case '3':
			color = "35"
		default:
			color = "31"
		}
	}
	if a.Lost {
		color += ";2"
	}
	return "\x1b[" + color + "m" + s + reset
}

func (d *drawing) message(b *strings.Builder, n int, a Arrow) {
	from, to := d.columns[d.index(a.From)].name, d.columns[d.index(a.To)].name
	title := fmt.Sprintf("%d. %s → %s  %.3f s  %s", n, from, to, a.Time.Sub(d.start).Seconds(), a.Note)
	b.WriteString("\n" + d.paint(a, strings.TrimRight(title, " ")) + "\n")
	for line := range strings.Lines(strings.TrimRight(a.Text, "\r\n")) {
		b.WriteString("    " + strings.TrimRight(line, "\r\n") + "\n")
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width-1, 0)]) + "…"
}
