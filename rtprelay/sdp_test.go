package rtprelay

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const plainSDP = "v=0\r\no=- 1 1 IN IP4 192.168.1.5\r\ns=-\r\nc=IN IP4 192.168.1.5\r\nt=0 0\r\n" +
	"m=audio 10000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:10001\r\na=ptime:20\r\na=sendrecv\r\n"

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// relay gives stream i of every media that can be relayed 203.0.113.9:30000+10*i.
func relay(d *Description, addr string) []Stream {
	s := make([]Stream, len(d.Media))
	for i := range d.Media {
		if d.Media[i].Relayed() {
			s[i] = Stream{Addr: ip(addr), Port: uint16(30000 + 10*i)}
		}
	}
	return s
}

func TestParseSDP(t *testing.T) {
	body := "v=0\r\no=user with blanks 1 2 IN IP6 2001:db8::5\r\ns=-\r\nc=IN IP4 192.168.1.5\r\nb=CT:1000\r\nt=0 0\r\na=sendonly\r\n" +
		"m=audio 10000/2 RTP/AVP 0 8\r\ni=a title\r\na=rtpmap: 3 GSM/8000\r\na=rtcp:5555 IN IP4 10.0.0.9\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host\r\na=recvonly\r\na=ptime:30\r\n" +
		"m=video 0 RTP/AVP 31\r\n" +
		"m=image 20000 udptl t38\r\nc=IN IP6 ::\r\n" +
		"m=message 7777 TCP/MSRP *\r\nc=IN IP4 host.example.com\r\na=inactive\r\n"
	d, err := ParseSDP(body)
	require.NoError(t, err)
	require.Len(t, d.Media, 4)
	require.Equal(t, ip("192.168.1.5"), d.Addr)
	require.False(t, d.Marked)
	a := d.Media[0]
	require.Equal(t, "audio", a.Type)
	require.Equal(t, "RTP/AVP", a.Proto)
	require.Equal(t, "0 8", a.Formats)
	require.Equal(t, uint16(10000), a.Port)
	require.Equal(t, ip("192.168.1.5"), a.Addr)
	require.Equal(t, netip.MustParseAddrPort("10.0.0.9:5555"), a.RTCP)
	require.True(t, a.Mux && a.ICE && a.Relayed())
	require.Equal(t, RecvOnly, a.Direction)
	require.Equal(t, uint16(30), a.PTime)
	require.False(t, d.Media[1].Relayed())
	require.Equal(t, SendOnly, d.Media[1].Direction)
	require.True(t, d.Media[2].Relayed() && d.Media[2].Held())
	require.False(t, d.Media[3].Relayed() || d.Media[3].Addr.IsValid())
	require.Equal(t, Inactive, d.Media[3].Direction)
}

func TestParseSDPRefuses(t *testing.T) {
	for _, body := range []string{"", "hello", "\r\nv=0\r\n", "v=0\r\nm=audio\r\n", "v=0\r\nm=audio x RTP/AVP 0\r\n", "v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
		"v=0\r\nm=audio -1 RTP/AVP 0\r\n", "v=0\r\nm=audio 5000\r\n", "v=0\r\n" + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", maxMedia+1),
		"v=0\r\n" + strings.Repeat("a=x\r\n", 20000)} {
		_, err := ParseSDP(body)
		require.ErrorIs(t, err, ErrBadSDP, "%q", body)
	}
}

func TestRewrite(t *testing.T) {
	const v4, v6 = "203.0.113.9", "2001:db8::9"
	tests := []struct {
		name, addr, in, want string
		edit                 Edit
	}{
		{"the usual", v4, plainSDP, strings.NewReplacer("192.168.1.5", v4, "m=audio 10000", "m=audio 30000", "a=rtcp:10001", "a=rtcp:30001").Replace(plainSDP) + "a=nortpproxy:yes\r\n", Edit{Mark: true}},
		{"origin kept", v4, "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.1\r\nm=audio 1 RTP/AVP 0\r\n", "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\n", Edit{KeepOrigin: true}},
		{"family change", v6, "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.1\r\nm=audio 1 RTP/AVP 0\r\na=rtcp:2 IN IP4 10.0.0.1\r\n", "v=0\r\no=- 1 1 IN IP6 2001:db8::9\r\nc=IN IP6 2001:db8::9\r\nm=audio 30000 RTP/AVP 0\r\na=rtcp:30001\r\n", Edit{}},
		{"old hold stays", v4, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nc=IN IP4 0.0.0.0\r\nm=audio 1 RTP/AVP 0\r\n", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nc=IN IP4 0.0.0.0\r\nm=audio 30000 RTP/AVP 0\r\n", Edit{}},
		{"media hold stays", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", Edit{}},
		{"refused stream", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 0 RTP/AVP 0\r\na=rtcp:7\r\nm=video 2 RTP/AVP 31\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 0 RTP/AVP 0\r\na=rtcp:7\r\nm=video 30010 RTP/AVP 31\r\n", Edit{}},
		{"nothing to do", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n", "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n", Edit{Mark: true}},
		{"msrp keeps its address", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=message 7 TCP/MSRP *\r\nm=audio 2 RTP/AVP 0\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=message 7 TCP/MSRP *\r\nc=IN IP4 10.0.0.1\r\nm=audio 30010 RTP/AVP 0\r\n", Edit{}},
		{"no c= at all, title", v4, "v=0\r\nm=audio 2 RTP/AVP 0\r\ni=x\r\nb=AS:1\r\n", "v=0\r\nm=audio 30000 RTP/AVP 0\r\ni=x\r\nc=IN IP4 203.0.113.9\r\nb=AS:1\r\n", Edit{}},
		{"no last line end", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 2/2 RTP/AVP 0", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000/2 RTP/AVP 0\r\na=nortpproxy:yes\r\n", Edit{Mark: true}},
		{"no last line end, no c=", v4, "v=0\r\nm=audio 2 RTP/AVP 0", "v=0\r\nm=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.9\r\n", Edit{}},
		{"bare LF", v4, "v=0\nc=IN IP4 10.0.0.1\nm=image 2 udptl t38\n", "v=0\nc=IN IP4 203.0.113.9\nm=image 30000 udptl t38\na=nortpproxy:yes\n", Edit{Mark: true}},
		{"c= after t=, odd lines", v4, "v=0\r\nt=0 0\r\nc=IN IP4  10.0.0.1/127 x\r\n\r\nfoo\r\n=\r\nm=audio  2  RTP/AVP 0\r\na=rtpmap: 3 GSM/8000\r\nB=\r\n", "v=0\r\nt=0 0\r\nc=IN IP4 203.0.113.9 x\r\n\r\nfoo\r\n=\r\nm=audio  30000  RTP/AVP 0\r\na=rtpmap: 3 GSM/8000\r\nB=\r\n", Edit{}},
		{"ICE removed", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\na=ice-lite\r\nm=audio 2 RTP/AVP 0\r\na=ice-ufrag:a\r\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host\r\na=end-of-candidates\r\na=remote-candidates:1 10.0.0.1 1\r\na=rtcp-xr:x\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\na=rtcp-xr:x\r\n", Edit{}},
		{"ICE kept", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 2 RTP/AVP 0\r\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host\r\n", Edit{ICE: ICEKeep}},
		{"marked already", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\na=nortpproxy:yes\r\nm=audio 2 RTP/AVP 0\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\na=nortpproxy:yes\r\nm=audio 30000 RTP/AVP 0\r\n", Edit{Mark: true}},
		{"host name", v4, "v=0\r\nc=IN IP4 pc.example.com\r\nm=audio 2 RTP/AVP 0\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\n", Edit{}},
		{"own c= each, session's does not leak", v4, "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 2 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\n", "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.9\r\n", Edit{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseSDP(tt.in)
			require.NoError(t, err)
			streams := relay(d, tt.addr)
			require.Equal(t, tt.want, d.Rewrite(streams, tt.edit))
			require.Equal(t, "x"+tt.want, string(d.Append([]byte("x"), streams, tt.edit)))
		})
	}
}

// TestRewriteLongest: offsets reach the last byte.
func TestRewriteLongest(t *testing.T) {
	head, tail := "v=0\r\nc=IN IP4 10.0.0.1\r\n", "m=audio 2 RTP/AVP 0\r\nc=IN IP4 10.0.0.2"
	filler := "a=" + strings.Repeat("x", maxSDP-len(head)-len(tail)-4) + "\r\n"
	d, err := ParseSDP(head + filler + tail)
	require.NoError(t, err)
	got := d.Rewrite(relay(d, "203.0.113.9"), Edit{})
	require.Equal(t, strings.ReplaceAll(head, "10.0.0.1", "203.0.113.9")+filler+"m=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.9", got)
}

func TestRewriteTwoAddresses(t *testing.T) {
	d, err := ParseSDP("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 2 RTP/AVP 0\r\na=x\r\nm=video 4 RTP/AVP 31\r\n")
	require.NoError(t, err)
	got := d.Rewrite([]Stream{{Addr: ip("203.0.113.1"), Port: 30000}, {Addr: ip("203.0.113.2"), Port: 40000, RTCP: 41000}}, Edit{})
	require.Equal(t, "v=0\r\nc=IN IP4 203.0.113.1\r\nm=audio 30000 RTP/AVP 0\r\na=x\r\nm=video 40000 RTP/AVP 31\r\nc=IN IP4 203.0.113.2\r\na=rtcp:41000\r\n", got)
}

func TestRewriteAllocates(t *testing.T) {
	got := testing.AllocsPerRun(100, func() { rewriteOnce(plainSDP) })
	require.LessOrEqual(t, got, 2.0)
}

var (
	benchAddr = netip.MustParseAddr("203.0.113.9")
	benchSink string
)

func rewriteOnce(body string) {
	d, err := ParseSDP(body)
	if err != nil {
		panic(err)
	}
	s := [1]Stream{{Addr: benchAddr, Port: 30000}}
	benchSink = d.Rewrite(s[:], Edit{Mark: true})
}

func BenchmarkRewriteSDP(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(plainSDP)))
	for b.Loop() {
		rewriteOnce(plainSDP)
	}
}

func TestSplitBody(t *testing.T) {
	before, sdp, after, ok := SplitBody("Application/SDP; x=y", "v=0\r\n")
	require.True(t, ok)
	require.Equal(t, []string{"", "v=0\r\n", ""}, []string{before, sdp, after})

	body := "preamble\r\n--b 1\r\nContent-Type: text/plain\r\n\r\n--b 12\r\nv=0 not this\r\n" +
		"--b 1 \r\nContent-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=early\r\n" +
		"--b 1\r\nCONTENT-TYPE:application/sdp\r\nContent-Disposition: session;handling=required\r\n\r\nv=0\r\ns=-\r\n\r\n--b 1\r\n\r\nx\r\n--b 1--\r\nepilogue"
	before, sdp, after, ok = SplitBody(`multipart/mixed; a="x;y"; Boundary="b 1"`, body)
	require.True(t, ok)
	require.Equal(t, "v=0\r\ns=-\r\n", sdp)
	require.Equal(t, body, before+sdp+after)
	require.True(t, strings.HasPrefix(after, "\r\n--b 1\r\n"))

	nested := "--o\nContent-Type: multipart/alternative;boundary=i\n\n--i\nContent-Type: application/sdp\n\nv=0\n--i--\n\n--o--\n"
	_, sdp, _, ok = SplitBody("multipart/mixed;boundary=o", nested)
	require.True(t, ok)
	require.Equal(t, "v=0", sdp)

	for _, ct := range []string{"", "text/plain", "multipart/mixed", `multipart/mixed;boundary="x`, "multipart/mixed;boundary=zz"} {
		_, _, _, ok = SplitBody(ct, body)
		require.False(t, ok, ct)
	}
}

func FuzzSDP(f *testing.F) {
	f.Add(plainSDP)
	f.Add("v=0\nm=audio 2 RTP/AVP 0\ni=\nm=x 0 y z")
	f.Add("v=0\r\nc=IN IP4 0.0.0.0\r\nm=image 1 udptl t38\r\na=candidate:\r\na=rtcp:1")
	f.Fuzz(func(t *testing.T, body string) {
		d, err := ParseSDP(body)
		if err != nil {
			return
		}
		require.Equal(t, body, d.Rewrite(nil, Edit{Mark: true}), "no streams, no change")
		streams := relay(d, "203.0.113.9")
		out := d.Rewrite(streams, Edit{Mark: true})
		again, err := ParseSDP(out)
		require.NoError(t, err)
		require.Len(t, again.Media, len(d.Media))
		for i := range again.Media {
			if streams[i].Port != 0 {
				require.Equal(t, streams[i].Port, again.Media[i].Port)
				if !d.Media[i].Held() {
					require.Equal(t, streams[i].Addr, again.Media[i].Addr)
				}
			} else if d.Media[i].Port != 0 {
				require.Equal(t, d.Media[i].Addr, again.Media[i].Addr)
			}
		}
	})
}

func FuzzSplitBody(f *testing.F) {
	f.Add("multipart/mixed;boundary=o", "--o\nContent-Type: application/sdp\n\nv=0\n--o--\n")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		before, sdp, after, _ := SplitBody(contentType, body)
		require.Equal(t, body, before+sdp+after)
	})
}
