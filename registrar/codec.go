package registrar

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// The packed form of an address-of-record's bindings. Stores keep it instead of
// []Binding because it is a quarter of the size, holds no pointers for the
// collector to follow, and can be written to a file or a server as it is.
//
//	state   = version *binding                 ; empty: no bindings
//	version = %x01
//	binding = length32 expires64 updated64 flags32 cseq32 regid32 q32 bits8
//	          uri callid instance agent params addr(received) addr(local)
//	          port16 list(path) list(methods) list(tempgruus)
//	uri     = scheme user password host params headers opaque    ; strings
//	addr    = kind8 proto8 port16 [4 or 16 octets] [zone] name    ; kind 0: no IP
//	list    = uvarint(0: nil, else count+1) *string
//	string  = uvarint(length) octets
//	method  = code8, 0: a string follows
//
// Integers are big-endian; length32 counts what follows it; times are Unix nanoseconds.
// Strings of a decoded binding are pieces of the packed text: nothing is copied.
const stateVersion = 1

// maxState bounds the packed bindings of one address-of-record.
const maxState = 1 << 20

var errCorrupt = errors.New("registrar: corrupt bindings")

// noTime stands for the zero time.Time, which Unix nanoseconds cannot express.
const noTime = math.MinInt64

const (
	addrNone = iota
	addr4
	addr6
	addr6Zone
)

const bitGRUU = 1

// methodCodes gives the methods that nearly every Allow lists one byte each. Append only: the place is stored.
var methodCodes = [...]sip.Method{"", sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.REGISTER, sip.PRACK,
	sip.UPDATE, sip.MESSAGE, sip.REFER, sip.PUBLISH, sip.INFO, sip.SUBSCRIBE, sip.NOTIFY}

// AppendBindings appends the packed form of bs to b, for stores that keep bindings outside the process.
// No bindings append nothing. The format is versioned; DecodeBindings reads every version.
func AppendBindings(b []byte, bs []Binding) []byte {
	if len(bs) == 0 {
		return b
	}
	b = append(b, stateVersion)
	for i := range bs {
		b = appendBinding(b, &bs[i])
	}
	return b
}

// DecodeBindings reads what AppendBindings wrote. The strings of the result refer to s.
// The error says only that s is no such text.
func DecodeBindings(s string) ([]Binding, error) {
	return decodeLive(s, math.MinInt64, nil)
}

// decodeLive decodes the bindings that expire after now.
func decodeLive(s string, now int64, lists *methodLists) ([]Binding, error) {
	n, err := countLive(s, now)
	if n == 0 || err != nil {
		return nil, err
	}
	return appendLive(make([]Binding, 0, n), s, now, lists)
}

func appendLive(dst []Binding, s string, now int64, lists *methodLists) ([]Binding, error) {
	rest, ok := stateBody(s)
	for ok && rest != "" {
		var rec string
		if rec, rest, ok = nextRecord(rest); !ok {
			break
		}
		if recordExpires(rec) <= now {
			continue
		}
		if len(dst) < cap(dst) {
			dst = dst[:len(dst)+1] // what lies there is overwritten, every field
		} else {
			dst = append(dst, Binding{})
		}
		ok = decodeBinding(rec, &dst[len(dst)-1], lists)
	}
	if !ok {
		return dst, errCorrupt
	}
	return dst, nil
}

func countLive(s string, now int64) (n int, err error) {
	rest, ok := stateBody(s)
	for ok && rest != "" {
		var rec string
		if rec, rest, ok = nextRecord(rest); ok && recordExpires(rec) > now {
			n++
		}
	}
	if !ok {
		return 0, errCorrupt
	}
	return n, nil
}

// spanOf returns when the first and the last binding of a state expire.
func spanOf(s string) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	rest, ok := stateBody(s)
	for ok && rest != "" {
		var rec string
		if rec, rest, ok = nextRecord(rest); ok {
			first, last = min(first, recordExpires(rec)), max(last, recordExpires(rec))
		}
	}
	return first, last
}

// dropExpired returns the state without the bindings that have expired by now; s itself when none has.
func dropExpired(s string, now int64) string {
	if first, last := spanOf(s); first > now {
		return s
	} else if last <= now {
		return ""
	}
	live := append(make([]byte, 0, len(s)), stateVersion)
	rest, ok := stateBody(s)
	for ok && rest != "" {
		whole := rest
		var rec string
		if rec, rest, ok = nextRecord(rest); ok && recordExpires(rec) > now {
			live = append(live, whole[:len(whole)-len(rest)]...)
		}
	}
	return string(live)
}

func stateBody(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	return s[1:], s[0] == stateVersion && len(s) > 1
}

// recordFixed is the length of a record's leading fixed fields.
const recordFixed = 8 + 8 + 4 + 4 + 4 + 4 + 1

func nextRecord(s string) (rec, rest string, ok bool) {
	if len(s) < 4 {
		return "", "", false
	}
	n := int(be32(s))
	if n < recordFixed || n > len(s)-4 {
		return "", "", false
	}
	return s[4 : 4+n], s[4+n:], true
}

func recordExpires(rec string) int64 { return int64(be64(rec)) }

func be32(s string) uint32 {
	_ = s[3]
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func be64(s string) uint64 { return uint64(be32(s))<<32 | uint64(be32(s[4:])) }

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	// Outside 1678..2262 UnixNano is undefined; such a time only means "never" or "long ago".
	switch s := t.Unix(); {
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case s <= math.MinInt64/int64(time.Second):
		return noTime + 1
	}
	return t.UnixNano()
}

func fromUnixNano(n int64) time.Time {
	if n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func appendBinding(b []byte, x *Binding) []byte {
	start := len(b)
	b = appendFixed(b, x)
	u := &x.Contact
	b = appendString(b, u.Scheme)
	b = appendString(b, u.User)
	b = appendString(b, u.Password)
	b = appendString(b, u.Host)
	b = appendString(b, string(u.Params))
	b = appendString(b, u.Headers)
	b = appendString(b, u.Opaque)
	b = appendString(b, x.CallID)
	b = appendString(b, x.Instance)
	b = appendString(b, x.UserAgent)
	b = appendString(b, string(x.Params))
	b = appendAddr(b, &x.Received)
	b = appendAddr(b, &x.Local)
	b = append(b, byte(u.Port>>8), byte(u.Port))
	b = appendStrings(b, x.Path)
	b = appendMethods(b, x.Methods)
	b = appendStrings(b, x.TempGRUUs)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// appendFixed appends room for the length of the record and its fixed fields.
func appendFixed(b []byte, x *Binding) []byte {
	var fixed [4 + recordFixed]byte
	be, p := binary.BigEndian, fixed[4:]
	be.PutUint64(p, uint64(unixNano(x.Expires)))
	be.PutUint64(p[8:], uint64(unixNano(x.Updated)))
	be.PutUint32(p[16:], x.Flags)
	be.PutUint32(p[20:], x.CSeq)
	be.PutUint32(p[24:], x.RegID)
	be.PutUint32(p[28:], math.Float32bits(x.Q))
	if x.GRUU {
		p[32] = bitGRUU
	}
	return append(b, fixed[:]...)
}

// appendString is called for a dozen texts of each binding: one copy of it touches less of the instruction cache than a dozen.
//
//go:noinline
func appendString(b []byte, s string) []byte {
	if s == "" { // about half of them
		return append(b, 0)
	}
	if len(s) < 0x80 {
		return append(append(b, byte(len(s))), s...)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, l []string) []byte {
	if l == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(l))+1)
	for _, s := range l {
		b = appendString(b, s)
	}
	return b
}

func appendMethods(b []byte, l []sip.Method) []byte {
	if l == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(l))+1)
	for _, m := range l {
		c := methodCode(m)
		b = append(b, c)
		if c == 0 {
			b = appendString(b, string(m))
		}
	}
	return b
}

func methodCode(m sip.Method) byte {
	for i := 1; i < len(methodCodes); i++ {
		if methodCodes[i] == m {
			return byte(i)
		}
	}
	return 0
}

func appendAddr(b []byte, a *transport.Addr) []byte {
	ip := a.AddrPort.Addr()
	kind := byte(addrNone)
	switch {
	case ip.Is4():
		kind = addr4
	case ip.Is6() && ip.Zone() == "":
		kind = addr6
	case ip.Is6():
		kind = addr6Zone
	}
	port := a.AddrPort.Port()
	b = append(b, kind, byte(a.Proto), byte(port>>8), byte(port))
	switch kind {
	case addr4:
		v := ip.As4()
		b = append(b, v[:]...)
	case addr6, addr6Zone:
		v := ip.As16()
		b = append(b, v[:]...)
	}
	if kind == addr6Zone {
		b = appendString(b, ip.Zone())
	}
	return appendString(b, a.Name)
}

// A reader takes fields off the front of a packed record; short is set for good at the first one that is not whole.
type reader struct {
	s     string
	short bool
	lists *methodLists
}

func (r *reader) take(n int) string {
	if n < 0 || n > len(r.s) {
		r.short, r.s = true, ""
		return ""
	}
	v := r.s[:n]
	r.s = r.s[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.take(1); v != "" {
		return v[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if v := r.take(2); v != "" {
		return uint16(v[0])<<8 | uint16(v[1])
	}
	return 0
}

// uvarint reads a length, which never exceeds what is left.
func (r *reader) uvarint() int {
	var v uint
	for i := 0; i < len(r.s) && i < 4; i++ {
		c := r.s[i]
		v |= uint(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return int(v)
		}
	}
	r.short, r.s = true, ""
	return 0
}

func (r *reader) string() string {
	if len(r.s) != 0 && r.s[0] < 0x80 && int(r.s[0]) < len(r.s) { // nearly always
		n := 1 + int(r.s[0])
		v := r.s[1:n]
		r.s = r.s[n:]
		return v
	}
	return r.take(r.uvarint())
}

// count reads a list's length; each element takes at least one octet, which bounds what is allocated.
func (r *reader) count() (n int, absent bool) {
	n = r.uvarint()
	if n == 0 {
		return 0, true
	}
	if n-1 > len(r.s) {
		r.short, r.s = true, ""
		return 0, true
	}
	return n - 1, false
}

func (r *reader) strings() []string {
	n, absent := r.count()
	if absent {
		return nil
	}
	l := make([]string, n)
	for i := range l {
		l[i] = r.string()
	}
	return l
}

func (r *reader) methods() []sip.Method {
	n, absent := r.count()
	if absent {
		return nil
	}
	if codes := r.s[:n]; strings.IndexByte(codes, 0) < 0 { // nearly always
		r.s = r.s[n:]
		l, ok := r.lists.of(codes)
		r.short = r.short || !ok
		return l
	}
	l := make([]sip.Method, n)
	for i := range l {
		c := int(r.byte())
		switch {
		case c == 0:
			l[i] = sip.Method(r.string())
		case c < len(methodCodes):
			l[i] = methodCodes[c]
		default:
			r.short = true
		}
	}
	return l
}

func (r *reader) addr() transport.Addr {
	kind, proto, port := r.byte(), r.byte(), r.uint16()
	var ip netip.Addr
	switch kind {
	case addrNone:
	case addr4:
		var v [4]byte
		copy(v[:], r.take(4))
		ip = netip.AddrFrom4(v)
	case addr6, addr6Zone:
		var v [16]byte
		copy(v[:], r.take(16))
		ip = netip.AddrFrom16(v)
	default:
		r.short = true
	}
	if kind == addr6Zone {
		ip = ip.WithZone(r.string())
	}
	return transport.Addr{Proto: transport.Proto(proto), AddrPort: netip.AddrPortFrom(ip, port), Name: r.string()}
}

// decodeBinding fills x from a record that nextRecord cut.
func decodeBinding(rec string, x *Binding, lists *methodLists) bool {
	x.Expires = fromUnixNano(int64(be64(rec)))
	x.Updated = fromUnixNano(int64(be64(rec[8:])))
	x.Flags = be32(rec[16:])
	x.CSeq = be32(rec[20:])
	x.RegID = be32(rec[24:])
	x.Q = math.Float32frombits(be32(rec[28:]))
	x.GRUU = rec[32]&bitGRUU != 0
	r := reader{s: rec[recordFixed:], lists: lists}
	u := &x.Contact
	u.Scheme = r.string()
	u.User = r.string()
	u.Password = r.string()
	u.Host = r.string()
	u.Params = sip.Params(r.string())
	u.Headers = r.string()
	u.Opaque = r.string()
	x.CallID = r.string()
	x.Instance = r.string()
	x.UserAgent = r.string()
	x.Params = sip.Params(r.string())
	x.Received = r.addr()
	x.Local = r.addr()
	u.Port = r.uint16()
	x.Path = r.strings()
	x.Methods = r.methods()
	x.TempGRUUs = r.strings()
	return !r.short && r.s == ""
}
