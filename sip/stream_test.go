package sip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const streamed = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nl: 3\r\n\r\nabc"

func TestScanSplitAnywhere(t *testing.T) {
	in := "\r\n" + streamed + "\r\n\r\n" + streamed + streamed + "\r\n"
	whole := scanAll(t, []byte(in), len(in), Limits{})
	require.Equal(t, []string{streamed, "ping", streamed, streamed}, whole)
	for i := range in {
		var buf []byte
		var found []string
		hint := 0
		for _, part := range []string{in[:i], in[i:]} {
			buf = append(buf, part...)
			for {
				m, n, ping, next, err := Scan(buf, Limits{}, hint)
				require.NoError(t, err)
				hint = next
				if m != nil {
					found = append(found, m.String())
				}
				if ping {
					found = append(found, "ping")
				}
				if buf = buf[n:]; n == 0 {
					break
				}
			}
		}
		require.Equal(t, whole, found, i)
		require.Empty(t, buf)
	}
}

func TestScanLost(t *testing.T) {
	start := "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\n"
	for _, c := range []struct {
		name, text string
		code       int // 0: no message
		reason     string
	}{
		{"conflict", start + "Content-Length: 1\r\nl: 2\r\n\r\nab", 400, "differ"},
		{"negative", start + "Content-Length: -1\r\n\r\n", 400, "no number"},
		{"huge", start + "Content-Length: 99999999999999999999\r\n\r\n", 400, "no number"},
		{"absent", start + "\r\n", 400, "no Content-Length"},
		{"too large", start + "Content-Length: 5000\r\n\r\n", 513, "(over 4000 bytes"},
		{"long header", start + "X: " + strings.Repeat("y", 2000) + "\r\n", 513, "header over 1500 bytes"},
		{"long header that ends", start + "X: " + strings.Repeat("y", 2000) + "\r\n\r\n", 513, "header over 1500 bytes"},
		{"line without CR", start + "X: y\nContent-Length: 0\r\n\r\n", 400, "without CR"},
		{"empty line without CR", start + "Content-Length: 0\r\n\n", 400, "without CR"},
		{"no SIP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, ""},
		{"garbage", strings.Repeat("x", 3000), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _, _, _, err := Scan([]byte(c.text), Limits{MessageBytes: 4000, HeaderBytes: 1500}, 0)
			require.Error(t, err)
			if c.code == 0 {
				require.Nil(t, m)
				return
			}
			f := m.Valid(Limits{MessageBytes: 4000, HeaderBytes: 1500})
			require.NotNil(t, f)
			require.Equal(t, c.code, f.Code)
			require.Contains(t, f.Reason, c.reason)
			require.Equal(t, "c", m.Head().CallID())
			require.Contains(t, NewResponse(m.(*Request), f.Code, f.Reason, "t").String(), "\r\nCall-ID: c\r\n")
		})
	}
}

func TestScanSameLengthTwice(t *testing.T) {
	m, n, _, _, err := Scan([]byte("ACK sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\nab"), Limits{}, 0)
	require.NoError(t, err)
	require.Equal(t, "a", m.Head().Body())
	require.Equal(t, 48-1, n)
}
