package redisstore

import "strings"

// A Cluster has 16,384 slots. They are taken in groups: each has its own pipelines, so that a master that hangs holds up its own slots
// and not all, and its own channel, so that nobody has to hear every change from every master.
const (
	slotCount  = 1 << 14
	slotGroups = 16
)

// slot is where the Cluster has key: CRC-16/XMODEM of what is in the first braces, if anything is, else of all.
func slot(key string) int {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if n := strings.IndexByte(key[i+1:], '}'); n > 0 {
			key = key[i+1 : i+1+n]
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return int(crc % slotCount)
}

var crcTable = makeCRCTable()

func makeCRCTable() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}

// group is the index of the lane and the channel of key.
func (s *Store) group(key string) int {
	if len(s.lanes) == 1 {
		return 0
	}
	return slot(key) * slotGroups / slotCount
}
