package sip

import (
	"strconv"
	"strings"
)

// A Fault says what is wrong with a message and how a server answers it.
type Fault struct {
	Code        int      // 400, 413, 414, 416, 420, 505, 513 ...
	Reason      string   // names the fault: "Bad Request (two Call-ID fields)"
	Field       string   // the header field at fault, "" for the start line or framing
	Unsupported []string // option tags for a 420
}

// Error gives code and reason.
func (f *Fault) Error() string { return strconv.Itoa(f.Code) + " " + f.Reason }

// Limits bounds what is accepted; a zero field means the default written beside it.
type Limits struct {
	MessageBytes int // whole message; 65535
	HeaderBytes  int // start line and header fields; 32768
	Fields       int // header fields; 256, at most 1024
	Vias         int // Via values; 70
	URIBytes     int // Request-URI; 4096, beyond: 414
}

func (l Limits) filled() Limits {
	return Limits{l.messageBytes(), l.headerBytes(), l.fields(), l.vias(), l.uriBytes()}
}

func or(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

func (l *Limits) messageBytes() int { return or(l.MessageBytes, 65535) }
func (l *Limits) headerBytes() int  { return or(l.HeaderBytes, 32768) }
func (l *Limits) fields() int       { return or(l.Fields, 256) }
func (l *Limits) vias() int         { return or(l.Vias, 70) }
func (l *Limits) uriBytes() int     { return or(l.URIBytes, 4096) }

func fault(code int, field, why string) *Fault {
	return &Fault{Code: code, Field: field, Reason: StatusText(code) + " (" + why + ")"}
}

// Valid checks a request by RFC 3261: start line, framing, the fields every request needs, and those a proxy acts on.
// What the meaning of fields calls for (416, 420, 482, 483) is left to who forwards.
func (r *Request) Valid(l Limits) *Fault {
	if r.plainSize(&l) && r.plainStart(&l) && r.plainFields(&l, r.Method, true) {
		return nil
	}
	return r.fault(&l)
}

// fault is Valid's exact look.
//
//go:noinline
func (r *Request) fault(l *Limits) *Fault {
	if f := r.oversize(l); f != nil {
		return f
	}
	if !r.plainStart(l) {
		if f := r.startFault(l); f != nil {
			return f
		}
	}
	if r.plainFields(l, r.Method, true) {
		return nil
	}
	return r.checkFields(l, r.Method, true)
}

// Valid checks a response; one with a fault is dropped (§18.1.2, §8.1.3).
func (r *Response) Valid(l Limits) *Fault {
	if r.Code >= 100 && r.Code <= 699 && strings.HasPrefix(r.startLine(), "SIP/2.0 ") && r.plainSize(&l) && r.plainFields(&l, "", false) {
		return nil
	}
	return r.fault(&l)
}

//go:noinline
func (r *Response) fault(l *Limits) *Fault {
	if f := r.startFault(); f != nil {
		return f
	}
	if f := r.oversize(l); f != nil {
		return f
	}
	if r.plainFields(l, "", false) {
		return nil
	}
	return r.checkFields(l, "", false)
}

func (r *Response) startFault() *Fault {
	if r.Code < 100 || r.Code > 699 {
		return fault(400, "", "status code "+strconv.Itoa(r.Code))
	}
	if !equalFold(r.Version(), "SIP/2.0") {
		return fault(505, "", r.Version())
	}
	return nil
}

func (h *Header) oversize(l *Limits) *Fault {
	size := h.len()
	cut := h.flags&tooLarge != 0 // on a stream: within the header, or behind it
	switch {
	case size > l.messageBytes() || cut && h.flags&noTail == 0:
		return fault(513, "", "over "+strconv.Itoa(l.messageBytes())+" bytes")
	case size-len(h.Body()) > l.headerBytes() || cut:
		return fault(513, "", "header over "+strconv.Itoa(l.headerBytes())+" bytes")
	case int(h.count) > l.fields() || h.flags&tooMany != 0:
		return fault(513, "", "over "+strconv.Itoa(l.fields())+" header fields")
	}
	return nil
}

func (r *Request) startFault(l *Limits) *Fault {
	if r.flags&versionOdd != 0 {
		return fault(505, "", r.Version())
	}
	if n := int(r.start.size) - len(r.Method) - len("  SIP/2.0\r\n"); n > l.uriBytes() {
		return fault(414, "", "over "+strconv.Itoa(l.uriBytes())+" bytes")
	}
	switch {
	case r.uriErr != nil:
		return fault(400, "", "Request-URI: "+r.uriErr.Reason)
	case r.flags&startOdd != 0:
		return fault(400, "", "white space in the start line")
	case r.URI.Headers != "":
		return fault(400, "", "headers in the Request-URI")
	}
	return nil
}

func (h *Header) checkFields(l *Limits, m Method, request bool) *Fault {
	if h.flags&unframed != 0 {
		return h.framing()
	}
	var seen uint32
	vias := 0
	fields := h.list()
	for i := range fields {
		f := &fields[i]
		if f.id-1 >= idContact { // unsigned: idOther too
			continue
		}
		if f := h.checkField(f, &vias, seen, m, request); f != nil {
			return f
		}
		seen |= 1 << f.id
	}
	if seen&needed != needed || h.flags&noTail != 0 || vias > l.vias() {
		return h.incomplete(l, seen)
	}
	return nil
}

//go:noinline
func (h *Header) incomplete(l *Limits, seen uint32) *Fault {
	if seen&needed != needed {
		return missing(seen)
	}
	if h.flags&noTail != 0 {
		return fault(400, "", "no empty line behind the header fields")
	}
	return fault(513, "Via", "over "+strconv.Itoa(l.vias())+" Vias")
}

// needed are the fields without which no message can be handled (§8.1.1). Max-Forwards is not: RFC 2543 did not know it.
const needed = 1<<idVia | 1<<idFrom | 1<<idTo | 1<<idCallID | 1<<idCSeq

func missing(seen uint32) *Fault {
	for id := idVia; ; id++ {
		if seen&(1<<id) == 0 {
			return fault(400, fieldNames[id], "no "+fieldNames[id])
		}
	}
}

const unframed = lenBad | lenTwo | lenShort | lenNone | startFolded | bareLF

func (h *Header) framing() *Fault {
	switch {
	case h.flags&lenBad != 0:
		return fault(400, "Content-Length", "Content-Length is no number")
	case h.flags&lenTwo != 0:
		return fault(400, "Content-Length", "Content-Lengths differ")
	case h.flags&lenShort != 0:
		return fault(400, "Content-Length", "Content-Length larger than the message")
	case h.flags&lenNone != 0:
		return fault(400, "Content-Length", "no Content-Length on a stream")
	case h.flags&bareLF != 0:
		// Whoever gets it next may see its end elsewhere, and on a connection another message in it.
		return fault(400, "", "a line that ends without CR")
	}
	return fault(400, "", "folded start line")
}

// checkField checks one of the fields that everything depends on.
func (h *Header) checkField(f *field, vias *int, seen uint32, m Method, request bool) *Fault {
	var why string
	switch f.id {
	case idBad:
		return fault(400, "", "a line that is no header field")
	case idVia:
		n := 1
		if m := h.via(f); m == nil || m.list {
			n, why = checkVias(h.value(f))
		}
		*vias += n
	case idContact:
		if !request {
			return nil // who gets it through will see; a call need not fail for it here
		}
		why = checkContacts(h.value(f))
	default:
		if seen&(1<<f.id) != 0 {
			return fault(400, fieldNames[f.id], "two "+fieldNames[f.id]+" fields")
		}
		why = checkSingle(f.id, h.value(f), m, request)
	}
	if why != "" {
		return fault(400, fieldNames[f.id], fieldNames[f.id]+": "+why)
	}
	return nil
}

func checkVias(s string) (n int, why string) {
	for {
		c := commaAt(s)
		one := s
		if c >= 0 {
			one = s[:c]
		}
		if _, why, _ = parseVia(one); why != "" {
			return n, why
		}
		n++
		if c < 0 {
			return n, ""
		}
		s = s[c+1:]
	}
}

func checkSingle(id fieldID, s string, m Method, request bool) string {
	switch id {
	case idFrom, idTo:
		return checkAddr(s)
	case idCallID:
		for i := range len(s) {
			if s[i] <= ' ' {
				return "white space"
			}
		}
		if s == "" {
			return "empty"
		}
	case idCSeq:
		method, why := cseqMethod(s)
		if why == "" && request && method != string(m) {
			return "not the method of the request"
		}
		return why
	case idMaxForwards:
		if _, ok := number(s, 255); !ok && request {
			return "no number from 0 to 255"
		}
	}
	return ""
}

func checkAddr(s string) string {
	if plainAddr(s) {
		return ""
	}
	p, why, _ := splitAddr(s)
	if why != "" {
		return why
	}
	var u URI
	if why, _ = u.parse(s[p.uri:p.uriEnd]); why != "" {
		return why
	}
	if _, ok := goodParams(s[p.params:p.end]); !ok {
		return "bad parameter"
	}
	return ""
}

func checkContacts(s string) string {
	for rest := s; rest != ""; {
		if s, rest = cutComma(rest); s == "" || s == "*" {
			continue
		}
		if why := checkAddr(s); why != "" {
			return why
		}
	}
	return ""
}
