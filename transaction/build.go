package transaction

import (
	"bytes"
	"math/rand/v2"
	"strconv"

	"github.com/sipkit/sipkit/sip"
)

// topVia is the topmost Via value as written.
func topVia(h *sip.Header) string {
	for v := range h.Values("Via") {
		return v
	}
	return ""
}

// newACK prints the ACK to a 300-699 response, by §17.1.1.3: Request-URI,
// Call-ID, From, CSeq number, Route and the topmost Via of the request, To of the response.
func newACK(req *sip.Request, res *sip.Response) []byte {
	var room [1024]byte // an ACK is kept for timer D: let it be no larger than it is
	return bytes.Clone(appendACK(room[:0], req, res))
}

func appendACK(b []byte, req *sip.Request, res *sip.Response) []byte {
	seq, _, _ := req.CSeq()
	b = append(b, "ACK "...)
	b = req.URI.AppendTo(b)
	b = append(b, " SIP/2.0\r\n"...)
	b = appendField(b, "Via", topVia(&req.Header))
	for r := range req.All("Route") {
		b = appendField(b, "Route", r)
	}
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = appendField(b, "From", req.Get("From"))
	b = appendField(b, "To", res.Get("To"))
	b = appendField(b, "Call-ID", req.CallID())
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(seq), 10)
	return append(b, " ACK\r\nContent-Length: 0\r\n\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// newCancel makes the CANCEL for an INVITE, by §9.1: Request-URI, Call-ID, To,
// From, CSeq number, Route and the topmost Via of the request.
func newCancel(req *sip.Request, reason string) *sip.Request {
	seq, _, _ := req.CSeq()
	c := sip.NewRequest(sip.CANCEL, req.URI)
	c.Add("Via", topVia(&req.Header))
	for r := range req.All("Route") {
		c.Add("Route", r)
	}
	c.Add("Max-Forwards", "70")
	c.Add("From", req.Get("From"))
	c.Add("To", req.Get("To"))
	c.Add("Call-ID", req.CallID())
	c.Add("CSeq", strconv.FormatUint(uint64(seq), 10)+" CANCEL")
	if reason != "" {
		c.Add("Reason", reason)
	}
	return c
}

// NewBranch returns a fresh branch prefix: magic cookie and 64 random bits.
func NewBranch() string {
	var b [len(sip.MagicCookie) + tagLen]byte
	copy(b[:], sip.MagicCookie)
	random(b[len(sip.MagicCookie):])
	return string(b[:])
}

// NewTag returns a tag with 64 random bits.
func NewTag() string {
	var b [tagLen]byte
	random(b[:])
	return string(b[:])
}

// tagLen is the number of base 32 digits in 64 bits.
const tagLen = 13

// random fills b with digits that compare the same with and without case. The
// generator is ChaCha8, seeded by the system: not to be guessed from outside.
func random(b []byte) {
	n := rand.Uint64()
	for i := range b {
		b[i] = "abcdefghijkmnpqrstuvwxyz23456789"[n%32]
		n >>= 5
	}
}
