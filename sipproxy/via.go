package sipproxy

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
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

// prefixLen is the length of PREFIX and LOOP with their dots.
const prefixLen = len(sip.MagicCookie) + 13 + 1 + 8 + 1

// pushVia puts our Via on top, for a flow and with a branch parameter. The texts before the branch are made once per listener.
func (s *Server) pushVia(c *sip.Request, f transport.Flow, branch []byte) {
	c.PushViaText(s.viaText(f), branch)
}

// viaText is our Via value for a flow up to the value of branch. It is made once per listener; nearly always it is the one asked for last.
func (s *Server) viaText(f transport.Flow) *sip.ViaText {
	host, port := f.SentBy()
	k := viaKey{f.Proto(), host, port}
	if e := s.lastVia.Load(); e != nil && e.key == k {
		return e.text
	}
	s.viaMu.Lock()
	defer s.viaMu.Unlock()
	e := s.vias[k]
	if e == nil {
		v := sip.Via{Protocol: "SIP/2.0", Transport: k.proto.ViaName(), Host: host, Port: port}
		e = &viaEntry{k, sip.NewViaText(v)}
		if s.vias == nil || len(s.vias) >= maxVias {
			s.vias = make(map[viaKey]*viaEntry)
		}
		s.vias[k] = e
	}
	s.lastVia.Store(e)
	return e.text
}

type viaEntry struct {
	key  viaKey
	text *sip.ViaText
}

type viaKey struct {
	proto transport.Proto
	host  string
	port  uint16
}

// maxVias bounds the texts kept: a server with more own addresses makes them anew.
const maxVias = 1024

// appendBranch appends the branch parameter of one try.
func (r *Request) appendBranch(b []byte) []byte {
	if r.tx == nil {
		return r.appendStatelessBranch(b)
	}
	if r.prefix[0] == 0 {
		p := append(r.prefix[:0], transaction.NewBranch()...)
		p = appendHex32(append(p, '.'), r.loopHash())
		_ = append(p, '.')
	}
	b = append(b, r.prefix[:]...)
	n := r.tries
	r.tries++
	return strconv.AppendUint(b, uint64(n), 10)
}

func appendHex32(b []byte, v uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

func appendHex64(b []byte, v uint64) []byte {
	return appendHex32(appendHex32(b, uint32(v>>32)), uint32(v))
}

// appendStatelessBranch appends a function of the request that is the same for its copies, its CANCEL and its non-2xx ACK (§16.11).
func (r *Request) appendStatelessBranch(b []byte) []byte {
	v, _ := r.Via()
	n, _, _ := r.CSeq()
	b = append(b, statelessCookie...)
	b = appendHex64(b, r.srv.statelessMAC(v, r.CallID(), r.FromTag(), n))
	b = appendHex32(append(b, '.'), r.loopHash())
	return r.appendConnectionHint(b, v)
}

// hintParam is a parameter of our Via in stateless mode: the port of the connection that a request came by. Its answers belong there (§18.2.2), and
// nothing else remembers it where the client did not ask for rport. It is no part of the branch, which a CANCEL by another connection shares.
const hintParam = "i"

func (r *Request) appendConnectionHint(b []byte, top sip.Via) []byte {
	source := r.Source
	if !source.Proto.Reliable() || top.Port == source.AddrPort.Port() || top.Params.Has("rport") {
		return b
	}
	return strconv.AppendUint(append(b, ";"+hintParam+"="...), uint64(source.AddrPort.Port()), 10)
}

// hinted is the next Via of a response as ViaFlow wants it: with the port that our own Via has kept.
func hinted(own, next sip.Via) sip.Via {
	if port, ok := own.Params.Get(hintParam); ok && !next.Params.Has("rport") {
		next.Params += sip.Params(";rport=" + port)
	}
	return next
}

// statelessMAC signs what the previous hop's Via and the dialog ids say: a response carries them back.
func (s *Server) statelessMAC(v sip.Via, callID, fromTag string, cseq uint32) uint64 {
	var buf [512]byte
	b := put(buf[:0], v.Branch())
	b = put(b, "\x00")
	b = put(b, v.Host)
	b = binary.BigEndian.AppendUint16(b, v.Port)
	b = put(b, callID)
	b = put(b, "\x00")
	b = put(b, fromTag)
	b = binary.BigEndian.AppendUint32(b, cseq)
	return s.branchKey.sum(b)
}

// put appends s. One copy of the code for all that is hashed: what a message touches counts, not the call.
//
//go:noinline
func put(b []byte, s string) []byte { return append(b, s...) }

// stableHash is the same for a request, its copies, its CANCEL and its ACK, on every proxy; it picks among addresses in stateless mode.
func (r *Request) stableHash() uint64 {
	var buf [128]byte
	return sipKey{}.sum(put(buf[:0], r.CallID())) | 1
}

// answer is the response of ours to a request. Its To tag, where the request has none, is the same for every copy of a request (§8.2.7).
func (s *Server) answer(r *sip.Request, code int, reason string) *sip.Response {
	tag := s.ownTag(r)
	return sip.NewResponse(r, code, reason, string(tag[:]))
}

// tag is the To tag that answers of ours to r have.
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

// ownTag is a function of what an ACK has in common with the INVITE when it is not for a 2xx. A branch with the cookie is another one in each of a client's
// transactions (§8.1.1.7); without it From tag and CSeq tell them apart.
func (s *Server) ownTag(r *sip.Request) (tag [16]byte) {
	branch := r.Branch()
	h := bits.RotateLeft64(maphash.String(s.seed, r.CallID()), 21) ^ maphash.String(s.seed, branch)
	if !strings.HasPrefix(branch, sip.MagicCookie) {
		n, _, _ := r.CSeq()
		h ^= bits.RotateLeft64(maphash.String(s.seed, r.FromTag()), 42) + uint64(n)
	}
	for i := range tag {
		tag[i] = "0123456789abcdef"[h&15]
		h >>= 4
	}
	return tag
}
