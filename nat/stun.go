package nat

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/sipkit/sipkit/transport"
)

// STUN answers binding requests on the SIP port (RFC 5389 §7.3.1, RFC 5626 §4.4.2): keepalives of phones, which learn from the answer whether
// their NAT has changed its mind. It fits sipproxy.Server.NonSIP. Clients with the magic cookie get XOR-MAPPED-ADDRESS, older ones (RFC 3489)
// MAPPED-ADDRESS, and FINGERPRINT comes back when it was there. It keeps no state, and answers are hardly longer than requests. What is no
// STUN message is left to be counted as malformed.
func STUN(data []byte, f transport.Flow) bool {
	var b [stunMax]byte
	answer, ok := stunAnswer(b[:0], data, f.Remote().AddrPort)
	if ok && len(answer) > 0 {
		_ = f.SendRaw(answer, nil) // the client asks again
	}
	return ok
}

const (
	stunHeader = 20
	stunCookie = 0x2112A442
	stunMax    = 160

	bindingRequest    = 0x0001
	bindingIndication = 0x0011
	bindingSuccess    = 0x0101
	bindingError      = 0x0111

	attrMapped      = 0x0001
	attrChange      = 0x0003 // RFC 3489
	attrUsername    = 0x0006
	attrIntegrity   = 0x0008
	attrErrorCode   = 0x0009
	attrUnknown     = 0x000A
	attrRealm       = 0x0014
	attrNonce       = 0x0015
	attrXorMapped   = 0x0020
	attrFingerprint = 0x8028
	fingerprintXor  = 0x5354554e
	unknownListed   = 8 // at most, in an error
)

// stunRequest is what matters of a message.
type stunRequest struct {
	cookie      bool
	fingerprint bool
	unknown     []uint16
}

// stunAnswer appends the answer to a message, nothing to an indication; false when it is not STUN, or nothing we answer.
func stunAnswer(b, data []byte, from netip.AddrPort) ([]byte, bool) {
	if len(data) < stunHeader || len(data)%4 != 0 || int(binary.BigEndian.Uint16(data[2:])) != len(data)-stunHeader {
		return nil, false
	}
	kind := binary.BigEndian.Uint16(data)
	if kind == bindingIndication {
		return nil, true
	}
	var room [unknownListed]uint16
	q := stunRequest{cookie: binary.BigEndian.Uint32(data[4:]) == stunCookie, unknown: room[:0]}
	if kind != bindingRequest || !q.read(data) {
		return nil, false
	}
	b = append(b, data[:stunHeader]...) // cookie and transaction id come back
	if len(q.unknown) > 0 {
		binary.BigEndian.PutUint16(b, bindingError)
		b = q.refuse(b)
	} else {
		binary.BigEndian.PutUint16(b, bindingSuccess)
		b = q.mapped(b, from)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	if q.fingerprint {
		b = fingerprint(b)
	}
	return b, true
}

// read goes through the attributes; false when they are malformed or the fingerprint is wrong.
func (q *stunRequest) read(data []byte) bool {
	signed := false
	for at := stunHeader; at < len(data); {
		if len(data)-at < 4 {
			return false
		}
		kind, n := binary.BigEndian.Uint16(data[at:]), int(binary.BigEndian.Uint16(data[at+2:]))
		end := at + 4 + (n+3)&^3
		if end > len(data) {
			return false
		}
		switch kind {
		case attrIntegrity:
			signed = true
		case attrMapped, attrUsername, attrRealm, attrNonce, attrXorMapped:
		case attrChange: // to another address we cannot
			if n != 4 || binary.BigEndian.Uint32(data[at+4:]) != 0 {
				q.understandNot(kind)
			}
		case attrFingerprint:
			if n != 4 || end != len(data) || binary.BigEndian.Uint32(data[at+4:]) != crc32.ChecksumIEEE(data[:at])^fingerprintXor {
				return false
			}
			q.fingerprint = true
		default:
			if kind < 0x8000 && !signed { // comprehension required (§7.3.1); what is behind MESSAGE-INTEGRITY anybody may have added (§15.4)
				q.understandNot(kind)
			}
		}
		at = end
	}
	return true
}

func (q *stunRequest) understandNot(kind uint16) {
	if len(q.unknown) < unknownListed {
		q.unknown = append(q.unknown, kind)
	}
}

// mapped appends the source address.
func (q *stunRequest) mapped(b []byte, from netip.AddrPort) []byte {
	ip := from.Addr().Unmap()
	addr := ip.AsSlice()
	port := from.Port()
	kind := uint16(attrMapped)
	if q.cookie {
		kind = attrXorMapped
		port ^= stunCookie >> 16
		for i := range addr {
			addr[i] ^= b[4+i] // cookie, then transaction id
		}
	}
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(addr)))
	family := byte(1)
	if ip.Is6() {
		family = 2
	}
	b = append(b, 0, family)
	b = binary.BigEndian.AppendUint16(b, port)
	return append(b, addr...)
}

// refuse appends 420 and the attributes it is about.
func (q *stunRequest) refuse(b []byte) []byte {
	const reason = "Unknown Attribute" // 17 bytes and 3 of padding
	b = binary.BigEndian.AppendUint16(b, attrErrorCode)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(reason)))
	b = append(b, 0, 0, 4, 20)
	b = append(append(b, reason...), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, attrUnknown)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(q.unknown)))
	for _, kind := range q.unknown {
		b = binary.BigEndian.AppendUint16(b, kind)
	}
	if len(q.unknown)%2 != 0 {
		b = append(b, 0, 0)
	}
	return b
}

// fingerprint appends FINGERPRINT (§15.5), which counts in the length it covers.
func fingerprint(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader+8))
	sum := crc32.ChecksumIEEE(b) ^ fingerprintXor
	b = binary.BigEndian.AppendUint16(b, attrFingerprint)
	b = binary.BigEndian.AppendUint16(b, 4)
	return binary.BigEndian.AppendUint32(b, sum)
}
