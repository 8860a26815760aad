package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// A packet is one message of a trace that middleware.Trace wrote.
type packet struct {
	from, to string
	msg      sip.Message

	announced, size int // Content-Length, and the bytes there are
}

// readTrace finds the messages in what a proxy printed. Lines without a time before them are its log.
func readTrace(t *testing.T, text string) (packets []packet) {
	t.Helper()
	var head []string
	var lines []string
	flush := func() {
		if head == nil {
			return
		}
		body := strings.Join(lines, "\r\n")
		if !strings.Contains(body, "\r\n\r\n") {
			body += "\r\n\r\n"
		} else {
			body += "\r\n" // Trace leaves off the last line end
		}
		m, err := sip.ParseString(body)
		require.NoError(t, err, body)
		p := packet{from: head[1], to: head[3], msg: m}
		p.announced, _ = m.Head().ContentLength()
		p.size = bodySize(body)
		packets = append(packets, p)
		head, lines = nil, nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if f := strings.Fields(line); len(f) == 5 && f[2] == "->" {
			flush()
			head = f
			continue
		}
		if head != nil {
			lines = append(lines, line)
		}
	}
	flush()
	for i := range packets {
		trim(packets[i].msg)
	}
	return packets
}

// whole reports whether the last message of a trace is all there: SIPp may have it before its trace has come through the pipe.
func whole(text string) bool {
	_, msg, _ := strings.Cut(text[max(0, strings.LastIndex(text, " -> ")):], "\n")
	head, body, ok := strings.Cut(msg, "\n\n")
	return ok && (!strings.Contains(head, "\nContent-Type:") || strings.Contains(body, "\n\n"))
}

// settled is a trace to which nothing is added any more: the programs may have a message before the trace has come through the pipe.
func settled(t *testing.T, output func() string) (text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		last := text
		text = output()
		return text == last && whole(text)
	}, time.Minute, 20*time.Millisecond, "the last message is cut, or messages keep coming")
	return text
}

// bodySize counts the bytes behind the empty line. Bodies end with one line end.
func bodySize(text string) int {
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	if body = strings.TrimRight(body, "\r\n"); body == "" {
		return 0
	}
	return len(body) + len("\r\n")
}

// trim takes off what the trace's own empty line added behind a body.
func trim(m sip.Message) {
	h := m.Head()
	if b := h.Body(); b != strings.TrimRight(b, "\r\n") {
		h.SetBody(h.ContentType(), strings.TrimRight(b, "\r\n"))
	}
}

// checkTrace reads every message that a proxy sent by RFC 3261: each is valid; a forwarded request differs from the received
// one in what §16.6 allows only and says Max-Breadth (RFC 5393 §5.3.3), a forwarded response in its top Via only (§16.7 step 3); there is one final response for each transaction; ACK
// and CANCEL of a hop belong to its INVITE (§9.1, §17.1.1.3).
func checkTrace(t *testing.T, p proxy) {
	t.Helper()
	packets := readTrace(t, settled(t, p.output))
	ours := []string{p.udp, p.tcp}
	require.NotEmpty(t, packets, "the proxy saw nothing")
	finals := make(map[string]int)   // transaction and direction: code
	invites := make(map[string]bool) // branches of INVITEs
	for i, p := range packets {
		if !slices.Contains(ours, p.from) {
			continue
		}
		require.Nil(t, p.msg.Valid(sip.Limits{}), "not valid:\n%s", p.msg)
		top, err := p.msg.Head().Via()
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(top.Branch(), sip.MagicCookie), "%s", p.msg)
		switch m := p.msg.(type) {
		case *sip.Request:
			checkRequest(t, packets[:i], p, m, invites)
		case *sip.Response:
			checkResponse(t, packets[:i], p, m)
			_, method, _ := m.CSeq()
			if m.Code >= 200 {
				key := fmt.Sprint(p.from, p.to, top.Branch(), method)
				was, again := finals[key]
				require.True(t, !again || was == m.Code, "two final responses, the first was %d:\n%s", was, m)
				finals[key] = m.Code
			}
		}
	}
}

func checkRequest(t *testing.T, before []packet, p packet, m *sip.Request, invites map[string]bool) {
	t.Helper()
	top, _ := m.Via()
	switch m.Method {
	case sip.INVITE:
		invites[p.from+top.Branch()] = true
	case sip.CANCEL:
		require.True(t, invites[p.from+top.Branch()], "a CANCEL without its INVITE:\n%s", m)
	}
	n := slices.Collect(viaBranches(m))
	if len(n) < 2 {
		return // a caller's own, or hop by hop
	}
	in := findRequest(before, m, n[1])
	require.NotNil(t, in, "a request that nobody sent here:\n%s", m)
	require.Equal(t, rest(in, true), rest(m, true), "changed on the way")
	require.Equal(t, in.Body(), m.Body())
	was, err := in.MaxForwards()
	require.NoError(t, err)
	is, err := m.MaxForwards()
	require.NoError(t, err)
	require.Equal(t, was-1, is, "Max-Forwards of\n%s", m)
	breadth, err := m.MaxBreadth()
	require.NoError(t, err)
	require.Positive(t, breadth, "Max-Breadth of\n%s", m)
}

// findRequest finds what the proxy received and now forwards.
func findRequest(before []packet, m *sip.Request, branch string) *sip.Request {
	for _, q := range slices.Backward(before) {
		r, ok := q.msg.(*sip.Request)
		if !ok || r.Method != m.Method || r.CallID() != m.CallID() {
			continue
		}
		if v, _ := r.Via(); v.Branch() == branch {
			return r
		}
	}
	return nil
}

func checkResponse(t *testing.T, before []packet, p packet, m *sip.Response) {
	t.Helper()
	n := slices.Collect(viaBranches(m))
	for _, q := range slices.Backward(before) {
		r, ok := q.msg.(*sip.Response)
		if !ok || r.Code != m.Code || r.CallID() != m.CallID() || r.ToTag() != m.ToTag() || q.to == p.to {
			continue
		}
		if b := slices.Collect(viaBranches(r)); len(b) == len(n)+1 && slices.Equal(b[1:], n) {
			require.Equal(t, rest(r, false), rest(m, false), "changed on the way")
			require.Equal(t, r.Body(), m.Body())
			return
		}
	}
}

func viaBranches(m sip.Message) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for v := range m.Head().Vias() {
			if !yield(v.Branch()) {
				return
			}
		}
	}
}

// rest is the fields that nobody on the way may touch.
func rest(m sip.Message, request bool) (fields []string) {
	own := []string{"Via"}
	if request {
		own = append(own, "Max-Forwards", "Max-Breadth", "Route", "Record-Route")
	}
	for name, value := range m.Head().Fields() {
		if !slices.Contains(own, name) {
			fields = append(fields, name+": "+value)
		}
	}
	return fields
}
