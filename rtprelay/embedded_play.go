package rtprelay

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const maxPlayFile = 32 << 20

// player sends a prepared file to the party of one side, which hears nothing else meanwhile.
type player struct {
	data  []byte
	size  int // payload bytes a packet
	ticks uint32
	every time.Duration
	times int // still to be played after this one; -1: forever
	at    int
	start int64
	sent  int64
	head  [rtpHeader]byte
	seq   uint16
	ts    uint32
	timer *time.Timer
}

func newPlayer(data []byte, pt byte, f frame, every time.Duration, times int, now int64) *player {
	p := &player{data: data, size: f.in(every), times: times, start: now}
	n := p.size / f.bytes
	p.every, p.ticks = time.Duration(n)*f.time, uint32(n)*f.ticks
	var seed [10]byte
	_, _ = rand.Read(seed[:])            // never fails
	p.head[0], p.head[1] = 0x80, pt|0x80 // the marker begins a talkspurt
	copy(p.head[8:], seed[:4])
	p.seq, p.ts = binary.BigEndian.Uint16(seed[4:]), binary.BigEndian.Uint32(seed[6:])
	if p.times > 0 {
		p.times--
	}
	return p
}

// due is how many packets should have left by now that have not.
func (p *player) due(now int64) int {
	n := (now-p.start)/int64(p.every) + 1 - p.sent
	if n > 50 { // the machine stood still: go on from here instead of flooding
		p.start = now - p.sent*int64(p.every)
		n = 1
	}
	return int(n)
}

// next writes the next packet to b; false at the end of the last repetition.
func (p *player) next(b []byte) ([]byte, bool) {
	if p.at >= len(p.data) {
		if p.times == 0 {
			return nil, false
		}
		if p.times > 0 {
			p.times--
		}
		p.at = 0
	}
	end := min(p.at+p.size, len(p.data))
	binary.BigEndian.PutUint16(p.head[2:], p.seq)
	binary.BigEndian.PutUint32(p.head[4:], p.ts)
	b = append(append(b[:0], p.head[:]...), p.data[p.at:end]...)
	p.head[1] &= 0x7f
	p.at, p.seq, p.ts = end, p.seq+1, p.ts+p.ticks
	p.sent++
	return b, true
}

// startPlay replaces what is playing; the lock of the loop is held.
func (s *relaySide) startPlay(p *player) {
	s.stopPlay()
	s.play = p
	l := s.session.loop
	buf := make([]byte, rtpHeader+p.size)
	p.timer = time.AfterFunc(0, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.play != p {
			return
		}
		now := l.now()
		for range p.due(now) {
			b, ok := p.next(buf)
			if !ok {
				s.play = nil
				s.session.last = now
				return
			}
			s.deliver(s.rtp, &s.rtpLatch.dst, b)
			s.session.count.played++
		}
		p.timer.Reset(time.Duration(p.start + p.sent*int64(p.every) - now))
	})
}

func (s *relaySide) stopPlay() {
	if s.play != nil {
		s.play.timer.Stop()
		s.play = nil
		s.session.last = s.session.loop.now()
	}
}

// playFile loads what can be played to a party that takes these payload types, in their order: PREFIX.PT, raw frames as RTPProxy's makeann
// writes them, or a .wav file of 8000 Hz mono, which becomes G.711.
func playFile(file string, formats []string) ([]byte, byte, frame, error) {
	wav := strings.HasSuffix(file, ".wav")
	for _, f := range formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		pt := byte(n)
		fr, ok := frameOf(pt)
		if !ok || (wav && pt != 0 && pt != 8) {
			continue
		}
		path := file
		if !wav {
			path = file + "." + f
		}
		data, err := readSmall(path)
		if os.IsNotExist(err) && !wav {
			continue
		}
		if err == nil && wav {
			data, err = wavToG711(data, pt == 8)
		}
		if err == nil && len(data) == 0 {
			err = fmt.Errorf("rtprelay: %s is empty", path)
		}
		return data, pt, fr, err
	}
	return nil, 0, frame{}, fmt.Errorf("%w: nothing to play of %s for payload types %s", ErrUnsupported, file, strings.Join(formats, ","))
}

func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxPlayFile || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("rtprelay: %s: not a file of at most %d bytes", path, maxPlayFile)
	}
	return os.ReadFile(path)
}

// playTo starts a file towards one side of a session; e.mu is held.
func (e *Embedded) playTo(s *relaySession, side uint8, file string, formats []string, times int) error {
	data, pt, f, err := playFile(file, formats)
	if err != nil {
		return err
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	to := &s.sides[side]
	if _, err := to.open(); err != nil {
		return err
	}
	every := to.ptime
	if every == 0 {
		every = 20 * time.Millisecond
	}
	to.startPlay(newPlayer(data, pt, f, every, times, s.loop.now()))
	return nil
}

// Play plays a file to one party on its first audio stream: file is PREFIX of files PREFIX.PT (0, 3, 4, 8, 9, 18: raw frames) or a .wav file of
// 8000 Hz mono with 16-bit or G.711 samples. times 0 and 1 play it once, -1 until Stop.
func (e *Embedded) Play(_ context.Context, r Ref, toAnswerer bool, file string, times int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.audio(r)
	if s == nil {
		return ErrNoSession
	}
	side := uint8(0)
	if toAnswerer {
		side = 1
	}
	formats := strings.Fields(s.codecs[side])
	return e.playTo(s, side, file, formats, times)
}

// Stop ends what Play began; nothing playing is no error.
func (e *Embedded) Stop(_ context.Context, r Ref, toAnswerer bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.audio(r)
	if s == nil {
		return ErrNoSession
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if toAnswerer {
		s.sides[1].stopPlay()
	} else {
		s.sides[0].stopPlay()
	}
	return nil
}

// audio is the first audio stream of a leg.
func (e *Embedded) audio(r Ref) *relaySession {
	var found *relaySession
	_ = e.each(r, func(s *relaySession) error {
		if s.audio && (found == nil || s.media < found.media) {
			found = s
		}
		return nil
	})
	return found
}
