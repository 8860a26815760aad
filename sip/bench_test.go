//go:build unix

package sip

import (
	"strings"
	"syscall"
	"testing"
)

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
		out = append(out, bareField{uint32(yardName(line[:c])), uint32(i), uint32(i + c), uint32(i + c + 1), uint32(i + n + 1)})
		i += n + 1
	}
	return out
}

// yardName looks a name up as the first version of the parser did: a yardstick must not change.
func yardName(s string) fieldID {
	if len(s) > 7 {
		return yardLongName(s)
	}
	switch s {
	case "Via":
		return idVia
	case "From":
		return idFrom
	case "To":
		return idTo
	case "Call-ID":
		return idCallID
	case "CSeq":
		return idCSeq
	case "Contact":
		return idContact
	case "Route":
		return idRoute
	case "Allow":
		return idAllow
	case "Server":
		return idServer
	case "Expires":
		return idExpires
	case "Accept":
		return idAccept
	case "Min-SE":
		return idMinSE
	case "Reason":
		return idReason
	}
	return tableName(s)
}

// yardLongName is apart because the compiler makes a table of one large switch.
func yardLongName(s string) fieldID {
	switch s {
	case "Max-Forwards":
		return idMaxForwards
	case "Content-Length":
		return idContentLength
	case "Content-Type":
		return idContentType
	case "User-Agent":
		return idUserAgent
	case "Supported":
		return idSupported
	case "Record-Route":
		return idRecordRoute
	case "Session-Expires":
		return idSessionExpires
	case "Authorization":
		return idAuthorization
	case "Proxy-Require":
		return idProxyRequire
	case "Proxy-Authorization":
		return idProxyAuthorization
	case "Max-Breadth":
		return idMaxBreadth
	}
	return tableName(s)
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
	via, branch := NewViaText(Via{Transport: "UDP", Host: "192.0.2.1", Port: 5060}), []byte("z9hG4bK0123456789abcdef")
	defer cpu(b)()
	for b.Loop() {
		m, _ := Parse(in)
		r := m.(*Request)
		r.PushViaText(via, branch)
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
