package rtprelay

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay/internal/rtpstub"
)

func TestBencode(t *testing.T) {
	v, err := decodeBencode("d1:ai-5e1:bl0:2:xye1:cd1:di7eee")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": int64(-5), "b": []any{"", "xy"}, "c": map[string]any{"d": int64(7)}}, v.plain())
	require.Equal(t, "xy", v.get("b").list[1].str)
	require.Zero(t, v.get("nosuch").get("x").num)
	for _, bad := range []string{"", "x", "i5", "ie", "i1x2e", "5:abc", "-1:a", "99999999999999999999:a", "l", "d", "d1:a", "di1e1:ae", "dl", "1:ab", "ee", "4294967296:a",
		strings.Repeat("l", bencodeDepth+2) + strings.Repeat("e", bencodeDepth+2), "l" + strings.Repeat("0:", bencodeItems+1) + "e"} {
		_, err := decodeBencode(bad)
		require.Error(t, err, "%.40q", bad)
	}
	d := newBdict("ping")
	d.text("empty", "")
	d.texts("none", nil)
	d.texts("l", []string{"a", "bc"})
	d.number("n", -3)
	d.open("o")
	d.text("k", "v")
	d.close()
	require.Equal(t, "d7:command4:ping1:ll1:a2:bce1:ni-3e1:od1:k1:vee", d.String())
}

// recordedNG gives the bodies of the recorded conversation, by cookie.
func recordedNG(t testing.TB) (requests, replies map[string]string) {
	requests, replies = map[string]string{}, map[string]string{}
	for _, f := range []string{"03-ng-basics", "04-ng-sdp-options", "05-ng-rtp"} {
		text, err := os.ReadFile(filepath.Join("testdata", "rtpengine", f+".txt"))
		require.NoError(t, err)
		for _, line := range strings.Split(string(text), "\n") {
			line = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(line)
			cookie, body, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "> "), "< "), " ")
			switch {
			case !ok || len(line) < 2 || line[1] != ' ':
			case line[0] == '>':
				requests[cookie] = body
			case line[0] == '<':
				replies[cookie] = body
			}
		}
	}
	return requests, replies
}

// TestRecordedNG reads everything recorded, and finds the end of each message in a stream.
func TestRecordedNG(t *testing.T) {
	requests, replies := recordedNG(t)
	require.Greater(t, len(replies), 55)
	e := &NG{}
	good, failed := 0, 0
	for cookie, reply := range replies {
		if !strings.HasPrefix(reply, "d") {
			continue // JSON, no reply
		}
		v, err := decodeBencode(reply)
		require.NoError(t, err, cookie)
		if err := e.failure(&v, reply); err != nil {
			var odd *ReplyError
			require.NotErrorAs(t, err, &odd)
			failed++
		} else {
			good++
		}
		s := &ngStream{r: bufio.NewReaderSize(strings.NewReader("\n"+cookie+" "+reply+cookie+" "+reply), 16)}
		for range 2 {
			buf := make([]byte, maxNG)
			n, err := s.Read(buf)
			require.NoError(t, err)
			require.Equal(t, cookie+" "+reply, string(buf[:n]))
		}
	}
	require.Greater(t, good, 35)
	require.Greater(t, failed, 8)
	for want, cookie := range map[error]string{ErrNoSession: "n32", ErrUnsupported: "n4", ErrBadSDP: "n31"} {
		v, err := decodeBencode(replies[cookie])
		require.NoError(t, err)
		require.ErrorIs(t, e.failure(&v, ""), want, cookie)
	}
	_ = requests
}

// TestNGRequest: our offer is the recorded one.
func TestNGRequest(t *testing.T) {
	requests, _ := recordedNG(t)
	v, err := decodeBencode(requests["n7"])
	require.NoError(t, err)
	var sent string
	e := scripted(func(body string) string { sent = body; return "d6:result5:error12:error-reason1:xe" })
	defer func() { _ = e.Close() }()
	_, err = e.Offer(t.Context(), Params{Ref: Ref{CallID: "ng1", FromTag: "f1"}, SDP: v.get("sdp").str, Options: Options{TrustSDP: true}, Source: netip.MustParseAddr("127.0.0.3")})
	require.Error(t, err)
	got, err := decodeBencode(sent)
	require.NoError(t, err)
	want := v.plain().(map[string]any)
	delete(want, "received-from") // of no use with trust-address
	require.Equal(t, want, got.plain())
}

// scripted is an NG whose daemon is a function. "" is silence.
func scripted(answer func(body string) string) *NG {
	return &NG{Address: "udp:192.0.2.1", Dial: func(context.Context, string, string) (net.Conn, error) {
		return rtpstub.NewMemory(func(m *rtpstub.Memory, in string) {
			cookie, body, _ := strings.Cut(in, " ")
			if reply := answer(body); reply != "" {
				m.Deliver(cookie + " " + reply)
			}
		}), nil
	}}
}

func okSDP(sdp string) string {
	return "d3:sdp" + strconv.Itoa(len(sdp)) + ":" + sdp + "6:result2:oke"
}

func TestNGOddReplies(t *testing.T) {
	in := Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP}
	good := strings.NewReplacer("192.168.1.5", "203.0.113.1", "10000", "30000").Replace(plainSDP)
	for _, reply := range []string{"hello", "le", "de", "d6:result2:oke", okSDP(""), okSDP("hello"), okSDP("v=0\r\n"), okSDP(strings.ReplaceAll(good, "30000", "0")),
		okSDP(strings.ReplaceAll(good, "203.0.113.1", "0.0.0.0")), okSDP(strings.ReplaceAll(good, "203.0.113.1", "224.0.0.1")), okSDP(good + "m=audio 1 RTP/AVP 0\r\n"), "d6:result5:weirde"} {
		e := scripted(func(string) string { return reply })
		_, err := e.Offer(t.Context(), in)
		var odd *ReplyError
		require.ErrorAs(t, err, &odd, reply)
		require.NoError(t, e.Close())
	}
	for reply, want := range map[string]error{
		"d6:result5:error12:error-reason30:Parallel session limit reachede": ErrUnavailable,
		"d6:result5:error12:error-reason16:Ran out of portse":               ErrUnavailable,
		"d6:result10:load limit7:message4:busye":                            ErrUnavailable,
		"d6:result5:error12:error-reason15:Unknown call-ide":                ErrNoSession,
	} {
		e := scripted(func(string) string { return reply })
		_, err := e.Offer(t.Context(), in)
		require.ErrorIs(t, err, want, reply)
		require.NoError(t, e.Close())
	}
	e := scripted(func(string) string { return okSDP(good) })
	res, err := e.Offer(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, Result{SDP: good + "a=nortpproxy:yes\r\n", Streams: 1}, res)
	require.NoError(t, e.Close())
}

func TestNGSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := scripted(func(body string) string {
			if strings.Contains(body, "5:offer") {
				n++
			}
			return ""
		})
		start := time.Now()
		_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP})
		require.ErrorIs(t, err, ErrUnavailable)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 4, n)
		time.Sleep(2 * time.Second)
		require.NoError(t, e.Close())
	})
}

func TestNGRefusesOptions(t *testing.T) {
	e := scripted(func(string) string { t.Error("sent"); return "" })
	defer func() { _ = e.Close() }()
	for _, o := range []NGOptions{
		{Flags: []string{"nosuch"}}, {Replace: []string{"all"}}, {ICE: "maybe"}, {ICELite: "x"}, {Transport: "RTP"}, {DTLS: "yes"}, {SDES: []string{"no-AES"}}, {RTCPMux: []string{"x"}},
		{T38: []string{"x"}}, {TOS: 256}, {TOS: -1}, {PTime: time.Second}, {PTime: -1}, {PTimeReverse: time.Microsecond},
	} {
		_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP, Options: Options{NG: &o}})
		var refused *RefusedError
		require.ErrorAs(t, err, &refused, "%+v", o)
	}
	_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP, Options: Options{From: "a"}})
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = e.Offer(t.Context(), Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP, Options: Options{From: "lan", To: "wan"}})
	require.ErrorIs(t, err, ErrUnsupported)
	ok := NGOptions{SDES: []string{"no-AES_CM_128_HMAC_SHA1_80", "off"}, T38: []string{"no-V.17"}}
	require.NoError(t, ok.Check())
	for _, a := range []string{"", "unix:/x", "udp:"} {
		require.Error(t, (&NG{Address: a}).Probe(t.Context()))
	}
}

func TestNGInterfaces(t *testing.T) {
	var sent string
	e := scripted(func(body string) string { sent = body; return "d6:result5:error12:error-reason1:xe" })
	defer func() { _ = e.Close() }()
	e.Interfaces = []string{"lan", "wan"}
	_, err := e.Offer(t.Context(), Params{Ref: Ref{CallID: "c", FromTag: "f"}, SDP: plainSDP, Options: Options{From: "lan", To: "wan"}})
	require.Error(t, err)
	require.Contains(t, sent, "9:directionl3:lan3:wane")
}

func FuzzBencode(f *testing.F) {
	_, replies := recordedNG(f)
	for _, r := range replies {
		f.Add(r)
	}
	e := &NG{}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := decodeBencode(s)
		if err == nil {
			_ = e.failure(&v, s)
			_ = v.plain()
			out, err := copyBencode(bufio.NewReader(strings.NewReader(s)), nil, len(s))
			require.NoError(t, err)
			require.Equal(t, s, string(out))
			return
		}
		_, _ = copyBencode(bufio.NewReader(strings.NewReader(s)), nil, 1000)
	})
}
