package registrar

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	journalName  = "journal-"
	snapshotName = "snapshot-"
	tmpSuffix    = ".tmp"
	// damagedSuffix is given to damaged files that a snapshot has replaced.
	damagedSuffix = ".damaged"
)

func (j *Journal) path(kind string, generation uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%s%016x", kind, generation))
}

// generations lists the generations of which there is a file of that kind, in order.
func generations(dir, kind string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var l []uint64
	for _, f := range files {
		digits, ok := strings.CutPrefix(f.Name(), kind)
		if !ok || len(digits) != 16 {
			continue
		}
		if g, err := strconv.ParseUint(digits, 16, 64); err == nil {
			l = append(l, g)
		}
	}
	slices.Sort(l)
	return l, nil
}

// load reads the directory into memory and opens a new journal file. What it read stays until the next snapshot.
func (j *Journal) load() error {
	snapshots, err := generations(j.dir, snapshotName)
	if err != nil {
		return err
	}
	journals, err := generations(j.dir, journalName)
	if err != nil {
		return err
	}
	l := loader{j: j, now: time.Now().UnixNano()}
	l.findSalt(snapshotName, snapshots)
	l.findSalt(journalName, journals)
	var first, last uint64
	parts := 0 // more than one: a snapshot was not finished
	if n := len(snapshots); n > 0 {
		first = snapshots[n-1]
		if err := l.read(snapshotName, first); err != nil {
			return err
		}
	}
	last = first
	for _, g := range journals {
		if g < first {
			continue
		}
		if err := l.read(journalName, g); err != nil {
			return err
		}
		last = max(last, g)
		parts++
	}
	if !l.salted {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		l.salt = binary.BigEndian.Uint32(b[:])
	}
	j.loaded, j.damage = int(j.mem.aors.Load()), l.damage
	j.log.init(j.cfg, l.salt, j.wake)
	return j.begin(first, last, parts, l)
}

// begin opens the file that is written to: the last one if its header is whole, else a new one.
func (j *Journal) begin(first, last uint64, parts int, l loader) error {
	j.removeBefore(first)
	j.generation = last
	if l.appendTo != "" {
		f, err := os.OpenFile(l.appendTo, os.O_RDWR, 0)
		if err == nil {
			err = reopen(f, l.end)
		}
		if err != nil {
			return err
		}
		j.log.use(j.mapped(f, l.end))
		j.log.size.Store(l.end)
	} else if err := j.rotate(); err != nil {
		return err
	}
	j.due = parts > 1 || slices.ContainsFunc(l.damage, func(d Damage) bool { return !d.Torn })
	if j.due || j.log.size.Load() >= j.cfg.CompactAt {
		j.wake()
	}
	j.mem.once.Do(j.mem.init)
	j.mem.rearm()
	return nil
}

// reopen cuts a torn end off and goes to the end.
func reopen(f *os.File, end int64) error {
	if err := f.Truncate(end); err != nil {
		return err
	}
	_, err := f.Seek(end, io.SeekStart)
	return err
}

// A loader reads files of one directory, in order.
type loader struct {
	j        *Journal
	now      int64
	salt     uint32
	salted   bool
	damage   []Damage
	work     []Binding
	text     []byte // of one record
	appendTo string // the last journal, when it can be written on
	end      int64  // where
}

// findSalt reads the salt from any file whose header is whole; it is the same in all.
func (l *loader) findSalt(kind string, generations []uint64) {
	b := make([]byte, 2*headerLen)
	for _, g := range generations {
		if l.salted {
			return
		}
		f, err := os.Open(l.j.path(kind, g))
		if err != nil {
			return // read will tell
		}
		n, _ := io.ReadFull(f, b)
		l.salt, l.salted, _ = parseHeader(b[:n])
		_ = f.Close()
	}
}

func (l *loader) read(kind string, generation uint64) error {
	path := l.j.path(kind, generation)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	s := scanner{r: bufio.NewReaderSize(f, 2*(recordHeader+maxPayload)), name: filepath.Base(path), apply: l.apply}
	if err := s.header(); err != nil {
		return err
	}
	err = s.records(l.salt)
	for _, d := range s.damage {
		l.j.cfg.Logger.Warn("registrar: damaged journal", "file", path, "offset", d.Offset, "skipped", d.Length, "torn", d.Torn)
	}
	l.damage = append(l.damage, s.damage...)
	l.appendTo = ""
	if kind == journalName && s.headed {
		l.appendTo, l.end = path, s.end
	}
	return err
}

// apply makes a record part of the state. false: its checksum was right and yet it makes no sense.
func (l *loader) apply(payload []byte) bool {
	aor, state, ok := parsePayload(payload)
	if !ok {
		return false
	}
	l.text = append(append(append(l.text[:0], noHeader[:]...), aor...), state...)
	said := makeText(l.text, len(aor))
	var err error
	clear(l.work)
	if l.work, err = appendLive(l.work[:0], said.state(), math.MinInt64, &l.j.mem.lists); err != nil {
		return false
	}
	l.j.mem.restore(said, l.now)
	return true
}

// restore puts what a file says into memory.
func (m *Memory) restore(said text, now int64) {
	aor := said.aor()
	sh, hash := m.at(aor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := sh.find(hash, aor)
	live := dropExpired(said.state(), now)
	if !same(live, said.state()) {
		said = makeText(append(appendText(nil, aor), live...), len(aor))
	}
	switch {
	case live == "" && at == nowhere:
	case live == "":
		sh.remove(at)
		m.aors.Add(-1)
	case at != nowhere:
		sh.replace(at, said)
	default:
		sh.insert(hash, said, now)
		m.aors.Add(1)
	}
}

// A scanner reads the records of one file and gets over what is damaged.
type scanner struct {
	r      *bufio.Reader
	name   string
	apply  func(payload []byte) bool
	offset int64 // of the next octet of r
	end    int64 // behind the last good record
	solid  int64 // behind the last octet that is not zero and in no record
	headed bool
	damage []Damage
}

var errVersion = errors.New("registrar: journal of another version")

func (s *scanner) header() error {
	b, err := s.r.Peek(2 * headerLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var other bool
	if _, s.headed, other = parseHeader(b); other {
		return fmt.Errorf("%w: %s", errVersion, s.name)
	}
	s.headed = s.headed && len(b) == 2*headerLen // half a header: nothing can follow it
	if !s.headed {                               // it was just being made, or damaged: its records are tried all the same
		s.damage = append(s.damage, Damage{File: s.name, Length: int64(len(b)), Torn: len(b) < 2*headerLen})
	}
	s.skip(len(b))
	s.end = s.offset
	return nil
}

func (s *scanner) skip(n int) {
	n, _ = s.r.Discard(n) // what was peeked is there
	s.offset += int64(n)
}

// records applies every record that is whole.
func (s *scanner) records(salt uint32) error {
	for {
		payload, err := s.next(salt)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case payload != nil && s.apply(payload):
			s.skip(recordHeader + len(payload))
			s.bad(s.offset - int64(recordHeader+len(payload)))
			s.end = s.offset
		case errors.Is(err, io.EOF):
			s.tear()
			return nil
		default:
			s.skipBad()
		}
	}
}

// skipBad goes on to where the next record may begin.
func (s *scanner) skipBad() {
	b, _ := s.r.Peek(max(1, s.r.Buffered()))
	zeros := len(b) - len(bytes.TrimLeft(b, "\x00"))
	if zeros == 0 {
		s.skip(1)
		s.solid = s.offset
		return
	}
	s.skip(max(1, zeros-lengthZeros))
}

// lengthZeros is how many zeros a record may begin with, those of its length.
const lengthZeros = 3

// next returns the payload of the record at the present offset, nil when there is none; io.EOF: at the end.
func (s *scanner) next(salt uint32) (payload []byte, err error) {
	h, err := s.r.Peek(recordHeader)
	if len(h) == 0 {
		return nil, err
	}
	if len(h) < recordHeader {
		return nil, onlyReal(err)
	}
	n, sum := int(binary.BigEndian.Uint32(h)), binary.BigEndian.Uint32(h[4:])
	if n == 0 || n > maxPayload {
		return nil, nil
	}
	b, err := s.r.Peek(recordHeader + n)
	if len(b) < recordHeader+n {
		return nil, onlyReal(err)
	}
	if checksum(salt, b) != sum {
		return nil, nil
	}
	return b[recordHeader:], nil
}

// onlyReal drops the error that says no more than that less was there.
func onlyReal(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// bad notes what was skipped before a good record at offset at.
func (s *scanner) bad(at int64) {
	if at > s.end {
		s.damage = append(s.damage, Damage{File: s.name, Offset: s.end, Length: at - s.end})
	}
}

// tear notes what was left over at the end. Zeros alone are room made ready for more.
func (s *scanner) tear() {
	if s.solid > s.end {
		s.damage = append(s.damage, Damage{File: s.name, Offset: s.end, Length: s.solid - s.end, Torn: true})
	}
}
