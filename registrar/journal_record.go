package registrar

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The files of a journal, version 1. Integers are big-endian.
//
//	lock                       flock(2)ed by the process that has the directory open
//	journal-<generation>       changes since the snapshot of that generation was begun
//	snapshot-<generation>      everything, at some time after the journal of that generation was begun
//	snapshot-<generation>.tmp  one that is being written, or was when the process died
//
// Generations are 16 hexadecimal digits. The state is that of the last snapshot with the journals of its and all later
// generations applied in order; what is older is removed. Both kinds of file are the same inside:
//
//	file    = header header *record *%x00            ; the zeros are room made ready for more records
//	header  = "sipkitj1" salt32 crc32     ; twice, so that one may be damaged
//	record  = length32 crc32 payload      ; length of the payload
//	payload = uvarint(length of aor) aor state
//
// A record gives all bindings of an address-of-record in the packed form of codec.go, none: it was removed. So records may be
// applied again, and one that is lost does no harm to others. Expiry is not recorded: times are absolute.
//
// Checksums are CRC-32C; a record's begins with the salt and the length. The salt is random and the same in all files of a
// directory. Without it, whoever registers could plant a whole record in one of its texts, to be found when the reader, after
// damage, looks for the next place where a checksum is right.
const (
	magic        = "sipkitj1"
	headerLen    = len(magic) + 4 + 4
	recordHeader = 4 + 4
	maxAOR       = 64 << 10
	maxPayload   = binary.MaxVarintLen32 + maxAOR + maxState
)

// A Damage is a stretch of a journal file that could not be read.
type Damage struct {
	File   string // without its directory
	Offset int64  // of the first octet that makes no sense
	Length int64  // octets skipped
	Torn   bool   // at the end of the file, as a crash leaves it
}

func (d Damage) String() string {
	what := "corrupt"
	if d.Torn {
		what = "torn end"
	}
	return fmt.Sprintf("%s: %s at offset %d, %d bytes skipped", d.File, what, d.Offset, d.Length)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendHeader(b []byte, salt uint32) []byte {
	for range 2 {
		start := len(b)
		b = append(b, magic...)
		b = binary.BigEndian.AppendUint32(b, salt)
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	}
	return b
}

// parseHeader reads the salt from the first whole copy. ok is false when there is none; other: it is of another version.
func parseHeader(b []byte) (salt uint32, ok, other bool) {
	const family = len(magic) - 1
	for ; len(b) >= headerLen; b = b[headerLen:] {
		h := b[:headerLen]
		if string(h[:family]) != magic[:family] || crc32.Checksum(h[:headerLen-4], castagnoli) != binary.BigEndian.Uint32(h[headerLen-4:]) {
			continue
		}
		if h[family] != magic[family] {
			other = true
			continue
		}
		return binary.BigEndian.Uint32(h[len(magic):]), true, false
	}
	return 0, false, other
}

// appendRecord appends the record of aor.
func appendRecord(b []byte, salt uint32, aor AOR, state string) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(len(aor)))
	b = append(b, aor...)
	b = append(b, state...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-recordHeader))
	binary.BigEndian.PutUint32(b[start+4:], checksum(salt, b[start:]))
	return b
}

// checksum is that of a whole record, whatever stands in its place.
func checksum(salt uint32, record []byte) uint32 {
	// A CRC is linear; starting from salt and length makes every sum depend on both.
	return crc32.Update(crc32.Update(salt, castagnoli, record[:4]), castagnoli, record[recordHeader:])
}

// parsePayload splits the payload of a record whose checksum was right.
func parsePayload(p []byte) (aor, state []byte, ok bool) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > uint64(len(p)-used) {
		return nil, nil, false
	}
	p = p[used:]
	return p[:n], p[n:], true
}
