//go:build unix

package sip

import (
	"strings"
	"syscall"
	"testing"
)

// sample is an INVITE of some 900 bytes as a desk phone sends it.
var sample = strings.ReplaceAll(`INVITE sip:service@127.0.0.1:5070 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK-2873-1-0;rport
Max-Forwards: 70
From: "Alice Example" <sip:alice@atlanta.example.com:5061>;tag=2873SIPpTag001
To: "Bob" <sip:bob@biloxi.example.com:5070>
Call-ID: 1-2873@127.0.0.1
CSeq: 1 INVITE
Contact: <sip:alice@127.0.0.1:5061;transport=udp>
User-Agent: Example Phone 3.14.1592 (sample)
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE
Supported: replaces, timer, outbound
Session-Expires: 1800;refresher=uac
Subject: Performance Test
Content-Type: application/sdp
Content-Length: 303

v=0
o=user1 53655765 2353687637 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 6000 RTP/AVP 0 8 18 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv
a=rtcp:6001
a=x:1234
`, "\n", "\r\n")

// cpu reports the CPU time of an operation, garbage collection included, which says more than wall-clock time on a busy machine.
func cpu(b *testing.B) func() {
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	from := used()
	return func() { b.ReportMetric(float64(used()-from)/float64(b.N), "cpu-ns/op") }
}

type bareField struct {
	id, start, name, val, end uint32
}

// bareScan is the yardstick: the lines of a message with the names of its header fields looked up, and nothing else.
func bareScan(s string, out []bareField) []bareField {
	_, i := cutLine(s)
	for i < len(s) && s[i] != '\r' {
		n := strings.IndexByte(s[i:], '\n')
		if n < 0 {
			break
		}
		line := s[i : i+n]
		c := strings.IndexByte(line, ':')
		if c < 0 {
			break
		}
		out = append(out, bareField{uint32(lookupName(line[:c])), uint32(i), uint32(i + c), uint32(i + c + 1), uint32(i + n + 1)})
		i += n + 1
	}
	return out
}

var sink int

func BenchmarkBareScan(b *testing.B) {
	var buf [32]bareField
	defer cpu(b)()
	for b.Loop() {
		sink += len(bareScan(sample, buf[:0]))
	}
}

// sinkText and sinkFields make the copies of the yardstick escape, as those of a parser do.
var (
	sinkText   string
	sinkFields []bareField
)

func BenchmarkBareScanOwned(b *testing.B) {
	in := []byte(sample)
	defer cpu(b)()
	for b.Loop() {
		sinkText = string(in)
		sinkFields = bareScan(sinkText, make([]bareField, 0, 24))
	}
}

var (
	sinkMessage Message
	sinkRequest *Request
)

func BenchmarkParse(b *testing.B) {
	in := []byte(sample)
	defer cpu(b)()
	for b.Loop() {
		sinkMessage, _ = Parse(in)
	}
}

func BenchmarkValid(b *testing.B) {
	m, _ := ParseString(sample)
	defer cpu(b)()
	for b.Loop() {
		if m.Valid(Limits{}) != nil {
			b.Fatal(m.Valid(Limits{}))
		}
	}
}

func BenchmarkForward(b *testing.B) {
	in := []byte(sample)
	out := make([]byte, 0, 2048)
	via := Via{Transport: "UDP", Host: "192.0.2.1", Port: 5060, Params: ";branch=z9hG4bK0123456789abcdef"}
	defer cpu(b)()
	for b.Loop() {
		m, _ := Parse(in)
		r := m.(*Request)
		r.PushVia(via)
		r.Prepend("Record-Route", "<sip:192.0.2.1;lr>")
		r.SetMaxForwards(69)
		out = r.AppendTo(out[:0])
		sinkRequest = r
	}
}

func BenchmarkClone(b *testing.B) {
	r, _ := ParseRequest(sample)
	defer cpu(b)()
	for b.Loop() {
		sinkRequest = r.Clone()
	}
}

func BenchmarkKey(b *testing.B) {
	r, _ := ParseRequest(sample)
	defer cpu(b)()
	for b.Loop() {
		v, _ := r.Via()
		sink += len(v.Branch()) + len(r.FromTag()) + len(r.ToTag()) + len(r.CallID())
	}
}

func BenchmarkBranch(b *testing.B) {
	r, _ := ParseRequest(sample)
	defer cpu(b)()
	for b.Loop() {
		sink += len(r.Branch()) + len(r.FromTag()) + len(r.ToTag()) + len(r.CallID())
	}
}

func BenchmarkNewResponse(b *testing.B) {
	r, _ := ParseRequest(sample)
	out := make([]byte, 0, 2048)
	defer cpu(b)()
	for b.Loop() {
		res := NewResponse(r, 180, "", "tag12345")
		out = res.AppendTo(out[:0])
		sink += len(out)
	}
}

func BenchmarkScan(b *testing.B) {
	in := []byte(sample)
	defer cpu(b)()
	for b.Loop() {
		sinkMessage, _, _, _, _ = Scan(in, Limits{}, 0)
	}
}

func BenchmarkIterate(b *testing.B) {
	r, _ := ParseRequest(sample)
	defer cpu(b)()
	for b.Loop() {
		for v := range r.Vias() {
			sink += len(v.Host)
		}
		for n := range r.Routes() {
			sink += len(n.Display)
		}
		for t := range r.Supporteds() {
			sink += len(t)
		}
	}
}
