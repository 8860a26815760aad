package sip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each name of the table is found in a line and by itself; nothing that only looks like it is.
func TestEverydayNames(t *testing.T) {
	found := 0
	for _, e := range everyday {
		if e.head == 0 {
			continue
		}
		found++
		id := fieldID(e.tail >> idShift)
		name := fieldNames[id]
		require.Equal(t, id, everydayID(words(name)), name)
		for text, want := range map[string]fieldID{
			name: id, strings.ToUpper(name): id, strings.ToLower(name): id, name + " ": id,
			name + "\x00": idBad, name + "x": idOther, "X" + name: idOther, name[:len(name)-1] + "\x00": idBad, "": idBad, name + ":": id,
			name + "\x80": idBad, name[:len(name)-1] + "\xba": idBad,
		} {
			h := headerOf(text + ": value\r\nX-Next: line\r\n\r\n")
			require.Equal(t, want, h.list()[0].id, "%q", text)
			require.Equal(t, idOther, h.list()[1].id)
		}
	}
	require.Equal(t, 27, found) // fewer when two names share a slot
}

func headerOf(fields string) *Header {
	h := &Header{text: fields}
	h.index(0)
	return h
}

// The usual form is found by words of eight bytes; the names and values must be those that the exact look finds, whatever the lengths.
func TestScanFieldAgrees(t *testing.T) {
	found := 0
	for _, name := range []string{"Via", "v", "To", "Contact", "Content-Type", "Session-Expires", "Proxy-Authorization", "X-Other", "", "a:b", "Call-ID\t", " "} {
		for _, value := range []string{"", " ", " x", "x", " x ", " x\ty", "  x", " a:b", "\tx", " x\r", "\r", " x\r\n folded"} {
			for _, end := range []string{"\r\n", "\n", "", " \r\n", "\r\n\r\n", "\r\nVia: y\r\n\r\n", "\r\nVia: SIP/2.0/UDP a.example.com\r\n\r\n"} {
				h := Header{text: "=" + name + ":" + value + end}
				want := field{}
				end, m := h.everyday(1), h.scanOdd(&want, 1)
				if end == 1 {
					require.Zero(t, h.count)
					continue
				}
				found++
				got := h.inline[0]
				require.Equal(t, m, 1+int(got.size), "%q", h.text)
				require.Equal(t, want, got, "%q", h.text)
			}
		}
	}
	require.NotZero(t, found)
}

// SIPp writes lengths with three blanks before them.
func TestSeveralBlanksAreUsual(t *testing.T) {
	h := Header{text: "=Content-Length:   203\r\n\r\n"}
	require.Equal(t, len(h.text)-2, h.everyday(1))
	require.Equal(t, "203", h.value(&h.inline[0]))
}

// A field with a name that is in no table, or in compact form, makes nothing odd of a message.
func TestRareNamesAreUsual(t *testing.T) {
	for _, line := range []string{"X-Call: 1", "P-Asserted-Identity: <sip:a@b>", "k: timer", "MAX-BREADTH: 60", "X: y"} {
		r, err := ParseRequest(strings.Replace(sample, "Subject:", line+"\r\nSubject:", 1))
		require.NoError(t, err)
		require.Zero(t, r.flags, line)
		require.Equal(t, 15, int(r.count))
		require.Equal(t, len(sample[:strings.Index(sample, "\r\n\r\n")])+2, r.everydayEnd()-len(line)-2)
		marksAgree(t, r.Head())
	}
	r, err := ParseRequest(strings.NewReplacer("\r\nVia", "\r\nv", "\r\nFrom", "\r\nf", "\r\nTo", "\r\nt", "\r\nContent-Length", "\r\nL").Replace(sample))
	require.NoError(t, err)
	require.Zero(t, r.flags)
	marksAgree(t, r.Head())
}

// everydayEnd is how far everyday gets by itself.
func (h *Header) everydayEnd() int {
	g := Header{text: h.text}
	_, i := cutLine(h.text)
	return g.everyday(i)
}

// A message longer than a field line may be is indexed in the other way, with the same result.
func TestLongMessageIsIndexedAlike(t *testing.T) {
	head := strings.Replace(sample[:strings.Index(sample, "v=0")], "303", "70000", 1)
	r, err := ParseRequest(head + strings.Repeat("x", 70000))
	require.NoError(t, err)
	require.Nil(t, r.Valid(Limits{MessageBytes: 100000}))
	short, err := ParseRequest(head)
	require.NoError(t, err)
	require.Equal(t, short.list(), r.list())
	require.Equal(t, short.places, r.places)
	require.Equal(t, short.marks, r.marks)
	marksAgree(t, r.Head())
}
