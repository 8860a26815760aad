package rtprelay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	maxRecordBacklog = 1 << 20 // bytes waiting for the disk; beyond it packets are left out and counted
	recordSnap       = 65535
	linkRaw          = 101 // LINKTYPE_RAW: packets begin with the IP header
)

// recording writes the packets that a session receives from both parties into one pcap file, each under the IP and UDP header that it
// came with. The disk is never waited for on the loop.
type recording struct {
	file  *os.File
	base  time.Time
	mu    sync.Mutex
	buf   []byte
	lost  int
	wake  chan struct{} // of capacity 1
	done  bool
	ended chan struct{}
}

func newRecording(path string, base time.Time) (*recording, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, err
	}
	r := &recording{file: f, base: base, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	r.buf = pcapHeader(r.buf)
	go r.write()
	return r, nil
}

func pcapHeader(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0xa1b2c3d4) // microseconds
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, recordSnap)
	return binary.LittleEndian.AppendUint32(b, linkRaw)
}

// packet is called on the loop.
func (r *recording) packet(b []byte, from, to netip.AddrPort, now int64) {
	r.mu.Lock()
	if r.done || len(r.buf)+len(b)+64 > maxRecordBacklog {
		r.lost++
		r.mu.Unlock()
		return
	}
	r.buf = appendPcap(r.buf, b, from, to, r.base.Add(time.Duration(now)))
	full := len(r.buf) > 32<<10
	r.mu.Unlock()
	if full {
		r.poke()
	}
}

func (r *recording) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// appendPcap adds one packet with the headers it had on the wire.
func appendPcap(dst, b []byte, from, to netip.AddrPort, at time.Time) []byte {
	head := 28
	if !from.Addr().Is4() || !to.Addr().Is4() {
		head = 48
	}
	b = b[:min(len(b), recordSnap-head)]
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at.Unix()))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at.Nanosecond()/1000))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(head+len(b)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(head+len(b)))
	if head == 28 {
		dst = appendIPv4(dst, 20+8+len(b), from.Addr(), to.Addr())
	} else {
		dst = appendIPv6(dst, 8+len(b), from.Addr(), to.Addr())
	}
	sum := len(dst) + 6
	dst = binary.BigEndian.AppendUint16(dst, from.Port())
	dst = binary.BigEndian.AppendUint16(dst, to.Port())
	dst = binary.BigEndian.AppendUint16(dst, uint16(8+len(b)))
	dst = append(dst, 0, 0)
	dst = append(dst, b...)
	if head == 48 { // zero means none in IPv4 only, RFC 8200 section 8.1
		binary.BigEndian.PutUint16(dst[sum:], udpSum6(dst[sum-6:], from.Addr(), to.Addr()))
	}
	return dst
}

func appendIPv4(dst []byte, total int, from, to netip.Addr) []byte {
	at := len(dst)
	src, sink := from.As4(), to.As4()
	dst = append(dst, 0x45, 0, byte(total>>8), byte(total), 0, 0, 0x40, 0, 64, 17, 0, 0)
	dst = append(dst, src[:]...)
	dst = append(dst, sink[:]...)
	binary.BigEndian.PutUint16(dst[at+10:], ^onesSum(0, dst[at:]))
	return dst
}

func appendIPv6(dst []byte, payload int, from, to netip.Addr) []byte {
	src, sink := from.As16(), to.As16()
	dst = append(dst, 0x60, 0, 0, 0, byte(payload>>8), byte(payload), 17, 64)
	dst = append(dst, src[:]...)
	return append(dst, sink[:]...)
}

func udpSum6(udp []byte, from, to netip.Addr) uint16 {
	src, sink := from.As16(), to.As16()
	sum := onesSum(0, src[:])
	sum = onesSum(sum, sink[:])
	sum = onesSum(sum, []byte{0, 0, byte(len(udp) >> 8), byte(len(udp)), 0, 0, 0, 17})
	if sum = ^onesSum(sum, udp); sum == 0 {
		return 0xffff
	}
	return sum
}

// onesSum is the checksum of RFC 1071, not yet complemented.
func onesSum(start uint16, b []byte) uint16 {
	sum := uint32(start)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
		if sum > 0xffff {
			sum = sum&0xffff + 1
		}
	}
	if len(b) == 1 {
		if sum += uint32(b[0]) << 8; sum > 0xffff {
			sum = sum&0xffff + 1
		}
	}
	return uint16(sum)
}

// write brings the buffer to the disk when it fills, and every second.
func (r *recording) write() {
	defer close(r.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var out []byte
	for {
		select {
		case <-r.wake:
		case <-tick.C:
		}
		r.mu.Lock()
		out, r.buf = r.buf, out[:0]
		done := r.done
		r.mu.Unlock()
		if _, err := r.file.Write(out); err != nil || done {
			r.mu.Lock()
			r.done = true // a full disk ends the recording, not the call
			r.mu.Unlock()
			_ = r.file.Close()
			return
		}
	}
}

// stop lets the writer finish on its own time.
func (r *recording) stop() {
	r.mu.Lock()
	r.done = true
	r.mu.Unlock()
	r.poke()
}

func (s *relaySession) stopRecording() {
	if s.rec != nil {
		s.rec.stop()
		s.rec = nil
	}
}

// fileName keeps what may stand in a file name on any system; nobody's Call-ID leads out of the directory.
func fileName(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '@', c == '.':
			return c
		}
		return '_'
	}, s[:min(len(s), 80)])
}

// startRecording is harmless when one is under way; e.mu is held.
func (e *Embedded) startRecording(s *relaySession) error {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.rec != nil {
		return nil
	}
	name := fmt.Sprintf("%s=%s", fileName(s.call.key.id), fileName(s.fromTag))
	if s.call.key.leg > 0 {
		name += fmt.Sprintf("=leg%d", s.call.key.leg)
	}
	if s.media > 1 {
		name += fmt.Sprintf("=%d", s.media)
	}
	rec, err := newRecording(freeName(filepath.Join(e.RecordDir, "r-"+name)), e.set.base)
	if err != nil {
		return err
	}
	s.rec = rec
	return nil
}

// freeName does not write over an earlier recording of the call.
func freeName(stem string) string {
	for i := 1; i < 1000; i++ {
		path := stem + ".pcap"
		if i > 1 {
			path = fmt.Sprintf("%s-%d.pcap", stem, i)
		}
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			return path
		}
	}
	return stem + "-1000.pcap"
}

// Record writes what both parties send from now on into RecordDir, one pcap file a stream.
func (e *Embedded) Record(_ context.Context, r Ref) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.each(r, e.startRecording)
}

// StopRecord ends it; the file is complete shortly after.
func (e *Embedded) StopRecord(_ context.Context, r Ref) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.each(r, func(s *relaySession) error {
		s.endRecording()
		return nil
	})
}

func (s *relaySession) endRecording() {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.stopRecording()
}

// each visits the streams of a leg; e.mu is held.
func (e *Embedded) each(r Ref, do func(*relaySession) error) error {
	c := e.calls[callKey{r.CallID, r.Leg}]
	if c == nil {
		return ErrNoSession
	}
	err := ErrNoSession
	for _, s := range append([]*relaySession(nil), c.sessions...) {
		if r.FromTag != "" && s.fromTag != r.FromTag {
			continue
		}
		if err = do(s); err != nil {
			return err
		}
	}
	return err
}
