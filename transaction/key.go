package transaction

import (
	"hash/maphash"
	"strings"
	"unsafe"

	"github.com/sipkit/sipkit/sip"
)

// A serverKey is what requests match by (§17.2.3): branch and sent-by of the
// topmost Via. The method is compared apart, since ACK and CANCEL look for another one.
type serverKey struct {
	branch, host string
	port         uint16
	old          *oldKey // set: the rules for RFC 2543 clients apply instead
}

// A lookup is a request with what its transaction is looked up by, read once.
type lookup struct {
	req    *sip.Request
	via    sip.Via
	branch string // "" of an RFC 2543 client
	port   uint16
	hash   uint64
}

// read fills in q. One copy of the code for all who look.
//
//go:noinline
func (q *lookup) read(l *Layer, req *sip.Request) (err error) {
	if q.via, err = req.Via(); err != nil {
		return err
	}
	q.req = req
	q.port = sentByPort(&q.via)
	if b := req.Branch(); hasBranch(b) {
		q.branch = b
		q.hash = l.serverHash(b, q.via.Host, q.port)
		return nil
	}
	seq, _, _ := req.CSeq()
	q.hash = l.dialogHash(req.CallID(), req.FromTag(), seq)
	return nil
}

// An oldKey is what requests of RFC 2543 clients match by. Their branch, if any,
// is not unique.
type oldKey struct {
	via                    sip.Via
	uri                    sip.URI
	callID, fromTag, toTag string
	replyTag               string // To tag of the final response
	seq                    uint32
}

// hasBranch reports whether the branch is that of an RFC 3261 client. The bare
// cookie is what some clients send in all requests; it tells nothing apart.
func hasBranch(branch string) bool {
	return len(branch) > len(sip.MagicCookie) && strings.HasPrefix(branch, sip.MagicCookie)
}

// sentByPort is the port of sent-by, the default when absent (§18.1.1). It
// serves to compare only; a client always writes the same.
func sentByPort(v *sip.Via) uint16 {
	switch {
	case v.Port != 0:
		return v.Port
	case strings.EqualFold(v.Transport, "TLS"):
		return 5061
	}
	return 5060
}

func (l *Layer) serverHash(branch, host string, port uint16) uint64 {
	h := maphash.String(l.seed, branch)
	for i := range len(host) { // host names compare without case, which is this bit of a letter
		h = (h ^ uint64(host[i]|0x20)) * 0x100000001b3
	}
	return mix(h, uint64(port))
}

func (l *Layer) clientHash(branch string) uint64 { return maphash.String(l.seed, branch) }

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// matches reports whether the request has the key k, methods aside.
func (k *serverKey) matches(q *lookup) bool {
	if k.old != nil {
		return q.branch == "" && k.old.matches(q.req, &q.via)
	}
	return k.branch == q.branch && k.port == q.port && strings.EqualFold(k.host, q.via.Host)
}

func (k *oldKey) matches(req *sip.Request, via *sip.Via) bool {
	seq, _, _ := req.CSeq() // none counts as 0: what cannot be read has copies too
	if seq != k.seq || req.CallID() != k.callID || req.FromTag() != k.fromTag {
		return false
	}
	switch req.Method {
	case sip.ACK: // acknowledges what we sent
		if req.ToTag() != k.replyTag {
			return false
		}
	case sip.CANCEL: // some have the To tag of a provisional response
	default:
		if req.ToTag() != k.toTag {
			return false
		}
	}
	return sameVia(via, &k.via) && req.URI.Equal(k.uri)
}

// sameVia compares what a client writes into its Via; received and rport are the transport's.
func sameVia(a, b *sip.Via) bool {
	if !strings.EqualFold(a.Host, b.Host) || !strings.EqualFold(a.Transport, b.Transport) || sentByPort(a) != sentByPort(b) {
		return false
	}
	for _, name := range [...]string{"branch", "maddr", "ttl"} {
		x, inA := a.Params.Get(name)
		y, inB := b.Params.Get(name)
		if inA != inB || x != y {
			return false
		}
	}
	return true
}

// newServerKey makes the key of a request. Its strings may point into the text of the request: see own.
func newServerKey(q *lookup) serverKey {
	if q.branch != "" {
		return serverKey{branch: q.branch, host: q.via.Host, port: q.port}
	}
	return newOldKey(q.req, &q.via)
}

// newOldKey is newServerKey for an RFC 2543 client.
//
//go:noinline
func newOldKey(req *sip.Request, via *sip.Via) serverKey {
	seq, _, _ := req.CSeq()
	k := &oldKey{
		callID:  strings.Clone(req.CallID()),
		fromTag: strings.Clone(req.FromTag()),
		toTag:   strings.Clone(req.ToTag()),
		seq:     seq,
	}
	// Copies, so that a finished transaction does not hold the whole message.
	k.uri, _ = sip.ParseURI(req.URI.String())
	k.via, _ = sip.ParseVia(via.String())
	return serverKey{old: k}
}

// size is the number of bytes own needs.
func (k *serverKey) size() int { return len(k.branch) + len(k.host) }

// own moves the text of the key behind the end of b, which must have room for it, so that the request can be released.
func (k *serverKey) own(b []byte) {
	text := view(append(append(b, k.branch...), k.host...)[len(b):])
	k.branch, k.host = text[:len(k.branch)], text[len(k.branch):]
}

// view is b as a string; b must not be written again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// methodName is m without holding the text it was cut from.
//
//go:noinline
func methodName(m sip.Method) sip.Method {
	switch m {
	case sip.INVITE:
		return sip.INVITE
	case sip.BYE:
		return sip.BYE
	case sip.CANCEL:
		return sip.CANCEL
	case sip.OPTIONS:
		return sip.OPTIONS
	case sip.REGISTER:
		return sip.REGISTER
	}
	return sip.Method(strings.Clone(string(m)))
}
