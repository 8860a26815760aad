package sipproxy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// Our branch parameters are
//
//	z9hG4bK PREFIX . LOOP . N     with state: PREFIX random per request, N counting its tries
//	z9hG4bKs MAC . LOOP           without: a function of the request (§16.11); perhaps followed by ;i=PORT, see hintParam
//
// LOOP is the loop detection hash of §16.6 step 8. MAC lets only answers to what we forwarded travel back without state.
const statelessCookie = sip.MagicCookie + "s"

// pushVia puts our Via on top. The texts before the branch are made once per listener.
func (s *Server) pushVia(c *sip.Request, f transport.Flow, branch string) {
	c.PushViaText(s.viaText(f), branch)
}

// viaText is our Via value for a flow up to the value of branch.
func (s *Server) viaText(f transport.Flow) string {
	host, port := f.SentBy()
	k := viaKey{f.Proto(), host, port}
	s.viaMu.RLock()
	t, ok := s.vias[k]
	s.viaMu.RUnlock()
	if ok {
		return t
	}
	v := sip.Via{Protocol: "SIP/2.0", Transport: f.Proto().ViaName(), Host: host, Port: port}
	t = v.String() + ";branch="
	s.viaMu.Lock()
	if s.vias == nil || len(s.vias) >= maxVias {
		s.vias = make(map[viaKey]string)
	}
	s.vias[k] = t
	s.viaMu.Unlock()
	return t
}

type viaKey struct {
	proto transport.Proto
	host  string
	port  uint16
}

// maxVias bounds the texts kept: a server with more own addresses makes them anew.
const maxVias = 1024

// branchParam makes the branch of one try.
func (r *Request) branchParam() string {
	if r.tx == nil {
		return r.statelessBranch()
	}
	if r.prefix == "" {
		r.prefix = transaction.NewBranch() + "." + hex32(uint32(r.loopHash())) + "."
	}
	n := r.tries
	r.tries++
	if n < 10 {
		return r.prefix + "0123456789"[n:n+1]
	}
	return r.prefix + strconv.Itoa(n)
}

func hex32(v uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return hex.EncodeToString(b[:])
}

// loopHash covers what routing decisions are made of (§16.6 step 8, RFC 5393 §4.2). A request that comes back with the same value has looped; a
// changed Request-URI is a spiral.
func (r *Request) loopHash() uint64 {
	if r.loop != 0 {
		return r.loop
	}
	var h maphash.Hash
	h.SetSeed(r.srv.seed)
	h.WriteString(r.Request.URI.Scheme)
	h.WriteString(r.Request.URI.Password)
	h.WriteByte(':')
	h.WriteString(r.Request.URI.Host)
	h.WriteByte(byte(r.Request.URI.Port))
	h.WriteByte(byte(r.Request.URI.Port >> 8))
	h.WriteString(r.Request.URI.User)
	h.WriteByte('@')
	h.WriteString(string(r.Request.URI.Params))
	h.WriteString(r.Request.URI.Opaque)
	h.WriteString(r.CallID())
	h.WriteString(r.FromTag())
	n, _, _ := r.CSeq()
	h.WriteByte(byte(n))
	h.WriteByte(byte(n >> 8))
	h.WriteByte(byte(n >> 16))
	if r.Has("Route") {
		for v := range r.All("Route") {
			h.WriteString(v)
		}
	}
	if r.tx != nil {
		// Without state the branch must also fit the CANCEL and the ACK of the request, which lack these.
		h.WriteString(r.Request.ToTag())
		h.WriteString(r.Get("Proxy-Require"))
		h.WriteString(r.Get("Proxy-Authorization"))
	}
	r.loop = h.Sum64() | 1
	return r.loop
}

// looped reports whether the request passed here before with the same routing inputs (§16.3 step 4).
func (r *Request) looped() bool {
	var mark [9]byte
	mark[0] = '.'
	for i, v := len(mark)-1, uint32(r.loopHash()); i > 0; i, v = i-1, v>>4 {
		mark[i] = "0123456789abcdef"[v&15]
	}
	return r.ViasContain(string(mark[:])) && r.hasLooped()
}

// hasLooped is looped for the case that some Via looks like it.
func (r *Request) hasLooped() bool {
	for v, err := range r.Vias() {
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(v.Branch(), ".")
		if loop, _, _ := strings.Cut(rest, "."); len(loop) != 8 || loop != hex32(uint32(r.loopHash())) {
			continue
		}
		if proto, _ := transport.ParseProto(v.Transport); r.srv.trs.IsLocal(v.Host, v.Port, proto) {
			return true
		}
	}
	return false
}

// statelessBranch is a function of the request that is the same for its copies, its CANCEL and its non-2xx ACK (§16.11).
func (r *Request) statelessBranch() string {
	v, _ := r.Via()
	n, _, _ := r.CSeq()
	return statelessCookie + r.srv.statelessMAC(v, r.CallID(), r.FromTag(), n) + "." + hex32(uint32(r.loopHash())) + r.connectionHint(v)
}

// hintParam is a parameter of our Via in stateless mode: the port of the connection that a request came by. Its answers belong there (§18.2.2), and
// nothing else remembers it where the client did not ask for rport. It is no part of the branch, which a CANCEL by another connection shares.
const hintParam = "i"

func (r *Request) connectionHint(top sip.Via) string {
	source := r.Source
	if !source.Proto.Reliable() || top.Port == source.AddrPort.Port() || top.Params.Has("rport") {
		return ""
	}
	return ";" + hintParam + "=" + strconv.Itoa(int(source.AddrPort.Port()))
}

// hinted is the next Via of a response as ViaFlow wants it: with the port that our own Via has kept.
func hinted(own, next sip.Via) sip.Via {
	if port, ok := own.Params.Get(hintParam); ok && !next.Params.Has("rport") {
		next.Params += sip.Params(";rport=" + port)
	}
	return next
}

// statelessMAC signs what the previous hop's Via and the dialog ids say: a response carries them back.
func (s *Server) statelessMAC(v sip.Via, callID, fromTag string, cseq uint32) string {
	var buf [512]byte
	b := append(buf[:0], s.keys[0]...)
	b = append(b, v.Branch()...)
	b = append(b, 0)
	b = append(b, v.Host...)
	b = binary.BigEndian.AppendUint16(b, v.Port)
	b = append(b, callID...)
	b = append(b, 0)
	b = append(b, fromTag...)
	b = binary.BigEndian.AppendUint32(b, cseq)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// stableHash is the same for a request, its copies, its CANCEL and its ACK; it picks among addresses in stateless mode.
func (r *Request) stableHash() uint64 {
	sum := sha256.Sum256([]byte(r.CallID()))
	return binary.BigEndian.Uint64(sum[:8]) | 1
}

// tag makes the To tag of our answers: the same for every copy of a request (§8.2.7).
func (s *Server) tag(r *sip.Request) string {
	if t := r.ToTag(); t != "" {
		return t
	}
	t := s.ownTag(r)
	return string(t[:])
}

// acknowledged reports whether an ACK is for a final response that we gave without a transaction: it has the tag that was made of its request.
func (s *Server) acknowledged(ack *sip.Request) bool {
	t := ack.ToTag()
	if len(t) != 16 {
		return false
	}
	own := s.ownTag(ack)
	return string(own[:]) == t
}

// ownTag is a function of what an ACK has in common with the INVITE when it is not for a 2xx.
func (s *Server) ownTag(r *sip.Request) (tag [16]byte) {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(r.CallID())
	h.WriteByte(0)
	h.WriteString(r.FromTag())
	h.WriteByte(0)
	if v, err := r.Via(); err == nil {
		h.WriteString(v.Branch())
	}
	n, _, _ := r.CSeq()
	h.WriteByte(byte(n))
	h.WriteByte(byte(n >> 8))
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], h.Sum64())
	hex.Encode(tag[:], b[:])
	return tag
}
