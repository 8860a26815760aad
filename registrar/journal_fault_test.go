package registrar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func mustOpen(t *testing.T, dir string, cfg JournalConfig) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func set(t testing.TB, s Store, aor string, cseq uint32) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), AOR(aor), func([]Binding) ([]Binding, error) {
		return []Binding{{Contact: sip.URI{Scheme: "sip", User: aor, Host: "192.0.2.1"}, CSeq: cseq, CallID: "call-of-" + aor, Expires: time.Now().Add(time.Hour)}}, nil
	}))
}

// content is what a store holds: CSeq by address.
func content(s Store) map[string]uint32 {
	m := map[string]uint32{}
	for aor, bs := range s.Scan(context.Background()) {
		m[string(aor)] = bs[0].CSeq
	}
	return m
}

// lastFile returns the path of the file of that kind with the highest generation.
func lastFile(t testing.TB, dir, kind string) string {
	t.Helper()
	l, err := generations(dir, kind)
	require.NoError(t, err)
	require.NotEmpty(t, l)
	return (&Journal{dir: dir}).path(kind, l[len(l)-1])
}

// prepare makes a directory with three addresses in its journal and returns the journal's bytes and the offset of each record and of the end.
func prepare(t testing.TB) (raw []byte, offsets []int64) {
	dir := t.TempDir()
	j, err := OpenJournal(dir, JournalConfig{})
	require.NoError(t, err)
	for i, aor := range []string{"a@x", "b@x", "c@x"} {
		offsets = append(offsets, j.Stats().Size)
		set(t, j, aor, uint32(i+1))
	}
	offsets = append(offsets, j.Stats().Size)
	require.NoError(t, j.Close())
	raw, err = os.ReadFile(lastFile(t, dir, journalName))
	require.NoError(t, err)
	require.EqualValues(t, len(raw), offsets[3])
	return raw, offsets
}

func openRaw(t *testing.T, dir string, raw []byte, log io.Writer) *Journal {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, journalName+"0000000000000001"), raw, 0o600))
	j, err := OpenJournal(dir, JournalConfig{Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	return j
}

// A crash may leave any beginning of the last record.
func TestJournalTornTail(t *testing.T) {
	raw, offsets := prepare(t)
	for n := offsets[2]; n < offsets[3]; n++ {
		dir := t.TempDir()
		var log bytes.Buffer
		j := openRaw(t, dir, raw[:n], &log)
		require.Equal(t, map[string]uint32{"a@x": 1, "b@x": 2}, content(j), "cut at %d", n)
		if torn := bytes.TrimRight(raw[offsets[2]:n], "\x00"); len(torn) > 0 { // zeros are no damage
			require.Equal(t, []Damage{{File: "journal-0000000000000001", Offset: offsets[2], Length: int64(len(torn)), Torn: true}}, j.Stats().Damage)
			require.Contains(t, log.String(), fmt.Sprintf("offset=%d", offsets[2]))
		} else {
			require.Empty(t, j.Stats().Damage)
		}
		set(t, j, "d@x", 4)
		require.NoError(t, j.Close())
		j = mustOpen(t, dir, JournalConfig{})
		require.Empty(t, j.Stats().Damage, "what was torn has been cut off")
		require.Equal(t, map[string]uint32{"a@x": 1, "b@x": 2, "d@x": 4}, content(j))
		require.NoError(t, j.Close())
	}
}

// A crash may leave any beginning of the file, and a tail of zeros where the file grew and its data did not arrive.
func TestJournalTornAnywhere(t *testing.T) {
	t.Parallel()
	raw, offsets := prepare(t)
	for n := range offsets[3] {
		for _, zeros := range []int{0, 1, 64} {
			dir := t.TempDir()
			torn := append(slices.Clone(raw[:n]), make([]byte, zeros)...)
			j := openRaw(t, dir, torn, io.Discard)
			want := map[string]uint32{}
			for i, aor := range []string{"a@x", "b@x", "c@x"} {
				if bytes.HasPrefix(torn, raw[:offsets[i+1]]) {
					want[aor] = uint32(i + 1)
				}
			}
			require.Equal(t, want, content(j), "cut at %d", n)
			set(t, j, "d@x", 4)
			require.NoError(t, j.Close())
			want["d@x"] = 4
			j = mustOpen(t, dir, JournalConfig{})
			require.Equal(t, want, content(j), "cut at %d, then written", n)
			require.NoError(t, j.Close())
		}
	}
}

// One bit flipped, wherever it is, costs at most the record it is in.
func TestJournalBitFlips(t *testing.T) {
	t.Parallel()
	raw, offsets := prepare(t)
	all := map[string]uint32{"a@x": 1, "b@x": 2, "c@x": 3}
	for at := range raw {
		bad := slices.Clone(raw)
		bad[at] ^= 1 << (at % 8)
		dir := t.TempDir()
		var log bytes.Buffer
		j := openRaw(t, dir, bad, &log)
		want := maps.Clone(all)
		for i, aor := range []string{"a@x", "b@x", "c@x"} {
			if int64(at) < offsets[i+1] && int64(at) >= offsets[i] {
				delete(want, aor)
				require.Len(t, j.Stats().Damage, 1)
				require.Equal(t, offsets[i], j.Stats().Damage[0].Offset)
				require.Contains(t, log.String(), fmt.Sprintf("offset=%d", offsets[i]))
			}
		}
		require.Equal(t, want, content(j), "bit flipped at %d", at)
		set(t, j, "d@x", 4)
		require.NoError(t, j.Close())
		j = mustOpen(t, dir, JournalConfig{})
		want["d@x"] = 4
		require.Equal(t, want, content(j))
		require.NoError(t, j.Close())
	}
}

func TestJournalVersion(t *testing.T) {
	raw, _ := prepare(t)
	bad := slices.Clone(raw)
	for at := range 2 {
		h := bad[at*headerLen : (at+1)*headerLen]
		h[len(magic)-1]++
		binary.BigEndian.PutUint32(h[headerLen-4:], crc32.Checksum(h[:headerLen-4], castagnoli))
	}
	dir := t.TempDir()
	path := filepath.Join(dir, journalName+"0000000000000001")
	require.NoError(t, os.WriteFile(path, bad, 0o600))
	_, err := OpenJournal(dir, JournalConfig{})
	require.ErrorIs(t, err, errVersion)
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, bad, kept, "a journal of another version is left alone")
}

// After damage in the middle a snapshot replaces the file, which is kept under another name.
func TestJournalDamagedFileIsReplaced(t *testing.T) {
	raw, offsets := prepare(t)
	raw[offsets[1]+20] ^= 1
	dir := t.TempDir()
	j := openRaw(t, dir, raw, io.Discard)
	waitFor(t, func() bool { return j.Stats().Compactions == 1 })
	require.NoError(t, j.Close())
	require.FileExists(t, filepath.Join(dir, "journal-0000000000000001.damaged"))
	require.NoFileExists(t, filepath.Join(dir, "journal-0000000000000001"))
	j = mustOpen(t, dir, JournalConfig{})
	require.Empty(t, j.Stats().Damage)
	require.Equal(t, map[string]uint32{"a@x": 1, "c@x": 3}, content(j))
}

// Someone who registers a text that looks like a record does not get it believed when the reader looks for a place to go on from.
func TestJournalPlantedRecord(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, JournalConfig{})
	_, victim := usual(1)
	planted := appendRecord(nil, 0, "boss@x", string(AppendBindings(nil, []Binding{victim})))
	set(t, j, "stranger@x"+string(planted), 1)
	set(t, j, "after@x", 2)
	require.NoError(t, j.Close())
	path := lastFile(t, dir, journalName)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[2*headerLen] ^= 0x80 // the length of the first record
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	j = mustOpen(t, dir, JournalConfig{})
	require.Equal(t, map[string]uint32{"after@x": 2}, content(j))
}

func TestJournalLocked(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, JournalConfig{})
	_, err := OpenJournal(dir, JournalConfig{})
	require.ErrorIs(t, err, ErrLocked)
	// A child that was forked and has not called exec yet has the descriptors of its parent.
	child, err := j.lock.f.SyscallConn()
	require.NoError(t, err)
	var copied int
	require.NoError(t, child.Control(func(fd uintptr) { copied, err = syscall.Dup(int(fd)) }))
	require.NoError(t, err)
	defer func() { _ = syscall.Close(copied) }()
	require.NoError(t, j.Close())
	mustOpen(t, dir, JournalConfig{})
}

func TestJournalDropsExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := mustOpen(t, dir, JournalConfig{})
		set(t, j, "short@x", 1)
		time.Sleep(30 * time.Minute)
		set(t, j, "long@x", 2)
		require.NoError(t, j.Close())
		time.Sleep(31 * time.Minute)
		j = mustOpen(t, dir, JournalConfig{})
		require.Equal(t, 1, j.Stats().Loaded)
		require.Equal(t, map[string]uint32{"long@x": 2}, content(j))
		time.Sleep(time.Hour)
		require.Zero(t, j.Stats().AORs, "expiry goes on for what was loaded")
		require.NoError(t, j.Close())
	})
}

// Snapshots are made while Updates go on, and a restart at any time afterwards finds the last state.
func TestJournalCompaction(t *testing.T) {
	dir := t.TempDir()
	cfg := JournalConfig{CompactAt: 4096}
	want := map[string]uint32{}
	for round := range 5 {
		j := mustOpen(t, dir, cfg)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 300 {
					aor, n := fmt.Sprintf("%d-%d@x", w, i%40), uint32(round*1000+i)
					set(t, j, aor, n)
					mu.Lock()
					want[aor] = n
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		waitFor(t, func() bool { return j.Stats().Compactions > 0 })
		require.NoError(t, j.Close())
	}
	j := mustOpen(t, dir, cfg)
	require.Equal(t, want, content(j))
	require.Eventually(t, func() bool {
		l, err := os.ReadDir(dir)
		return err == nil && len(l) <= 3
	}, 10*time.Second, time.Millisecond, "old files are removed")
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, time.Millisecond)
}

// disk is a file system that can be full, or broken.
type disk struct {
	room atomic.Int64 // octets it still takes
	sync atomic.Bool  // fsync fails
}

var errNoSpace = errors.New("no space left on device")

type diskFile struct {
	file
	d *disk
}

func (d *disk) create(path string) (file, error) {
	f, err := createFile(path)
	return diskFile{f, d}, err
}

func (f diskFile) Write(b []byte) (int, error) {
	room := max(0, f.d.room.Add(-int64(len(b)))+int64(len(b)))
	if room >= int64(len(b)) {
		return f.file.Write(b)
	}
	n, _ := f.file.Write(b[:room]) // the usual half-written end
	return n, errNoSpace
}

func (f diskFile) Sync() error {
	if f.d.sync.Load() {
		return errors.New("input/output error")
	}
	return f.file.Sync()
}

func TestJournalFullDisk(t *testing.T) {
	for _, mode := range []Durability{Write, Async, Sync} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, d := t.TempDir(), new(disk)
				d.room.Store(1 << 20)
				var alarms []string
				j := mustOpen(t, dir, JournalConfig{Mode: mode, create: d.create, Alarm: func(err error) { alarms = append(alarms, fmt.Sprint(err)) }})
				set(t, j, "before@x", 1)
				require.NoError(t, j.Flush(t.Context()))
				d.room.Store(40)
				for i := range 10 {
					set(t, j, fmt.Sprintf("full%d@x", i), uint32(i))
					time.Sleep(100 * time.Millisecond)
				}
				synctest.Wait()
				require.Equal(t, []string{errNoSpace.Error()}, alarms, "one alarm")
				st := j.Stats()
				require.True(t, st.Degraded)
				require.EqualValues(t, 10, st.Lost)
				require.NotZero(t, st.Failures)
				require.Len(t, content(j), 11, "calls go on from memory")

				time.Sleep(time.Minute)
				synctest.Wait()
				require.Len(t, alarms, 1)
				files, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.LessOrEqual(t, len(files), 2, "attempts leave nothing behind")

				d.room.Store(1 << 30)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, []string{errNoSpace.Error(), "<nil>"}, alarms)
				require.False(t, j.Stats().Degraded)
				set(t, j, "after@x", 3)
				want := content(j)
				require.Len(t, want, 12)
				require.NoError(t, j.Close())

				j = mustOpen(t, dir, JournalConfig{})
				require.Equal(t, want, content(j))
				require.Empty(t, j.Stats().Damage)
				require.NoError(t, j.Close())
			})
		})
	}
}

// A process that dies with the disk full has what was written before, and no half record in the way.
func TestJournalFullDiskThenRestart(t *testing.T) {
	dir, d := t.TempDir(), new(disk)
	d.room.Store(1 << 20)
	j := mustOpen(t, dir, JournalConfig{create: d.create})
	set(t, j, "before@x", 1)
	d.room.Store(40)
	set(t, j, "lost@x", 2)
	require.ErrorIs(t, j.Close(), errNoSpace)
	j = mustOpen(t, dir, JournalConfig{})
	require.Empty(t, j.Stats().Damage)
	require.Equal(t, map[string]uint32{"before@x": 1}, content(j))
}

// After a failed fsync the file is not trusted any more, even if the next one succeeds.
func TestJournalSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, d := t.TempDir(), new(disk)
		d.room.Store(1 << 30)
		j := mustOpen(t, dir, JournalConfig{Mode: Sync, create: d.create})
		first := lastFile(t, dir, journalName)
		d.sync.Store(true)
		set(t, j, "a@x", 1)
		require.True(t, j.Stats().Degraded)
		d.sync.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, j.Stats().Degraded)
		require.NotEqual(t, first, lastFile(t, dir, journalName))
		require.NoError(t, j.Close())
		require.Equal(t, map[string]uint32{"a@x": 1}, content(mustOpen(t, dir, JournalConfig{})))
	})
}

// A snapshot for which there is no room leaves the journal as it is, and is made when there is.
func TestJournalSnapshotFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, d := t.TempDir(), new(disk)
		d.room.Store(1 << 30)
		var broken atomic.Bool
		create := func(path string) (file, error) {
			if broken.Load() && strings.Contains(path, snapshotName) {
				return nil, errNoSpace
			}
			return d.create(path)
		}
		j := mustOpen(t, dir, JournalConfig{CompactAt: 2000, create: create})
		broken.Store(true)
		for i := range 100 {
			set(t, j, fmt.Sprintf("%d@x", i), 1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Zero(t, j.Stats().Compactions)
		require.False(t, j.Stats().Degraded)
		files, _ := os.ReadDir(dir)
		require.LessOrEqual(t, len(files), 3, "attempts do not pile up journals")
		broken.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, j.Stats().Compactions)
		want := content(j)
		require.Len(t, want, 100)
		require.NoError(t, j.Close())
		require.Equal(t, want, content(mustOpen(t, dir, JournalConfig{})))
	})
}

// A journal whose files are removed under it notices, tells, and writes everything anew; another process cannot take the new directory meanwhile.
func TestJournalRemoved(t *testing.T) {
	for _, what := range []string{"directory", "file"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				var alarms []error
				j := mustOpen(t, dir, JournalConfig{Alarm: func(err error) { alarms = append(alarms, err) }})
				set(t, j, "before@x", 1)
				gone := dir
				if what == "file" {
					gone = lastFile(t, dir, journalName)
				}
				require.NoError(t, os.RemoveAll(gone))
				set(t, j, "after@x", 2)
				time.Sleep(lookEvery + defaultRetry)
				synctest.Wait()
				require.Len(t, alarms, 2)
				require.ErrorIs(t, alarms[0], fs.ErrNotExist)
				require.NoError(t, alarms[1])
				require.False(t, j.Stats().Degraded)
				_, err := OpenJournal(dir, JournalConfig{})
				require.ErrorIs(t, err, ErrLocked)
				set(t, j, "later@x", 3)
				require.NoError(t, j.Close())
				require.Equal(t, map[string]uint32{"before@x": 1, "after@x": 2, "later@x": 3}, content(mustOpen(t, dir, JournalConfig{})))
			})
		})
	}
}

// Gather leaves records in memory until Flush, or until the delay is over.
func TestJournalGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(disk) // its files are not mapped
		d.room.Store(1 << 30)
		j := mustOpen(t, t.TempDir(), JournalConfig{Gather: true, create: d.create})
		for i := range 100 {
			set(t, j, fmt.Sprint(i), 1)
		}
		require.Zero(t, j.Stats().Writes)
		require.NoError(t, j.Flush(t.Context()))
		require.NoError(t, j.Flush(t.Context()))
		require.EqualValues(t, 1, j.Stats().Writes, "one write for all")
		require.EqualValues(t, 100, j.Stats().Written)
		set(t, j, "late", 1)
		time.Sleep(defaultDelay)
		synctest.Wait()
		require.EqualValues(t, 2, j.Stats().Writes)
		require.NoError(t, j.Close())
	})
}

// Updates that come while another waits for the disk share the next write.
func TestJournalGroupCommit(t *testing.T) {
	gate := make(chan struct{})
	slow := func(path string) (file, error) {
		f, err := createFile(path)
		if strings.Contains(path, journalName) {
			f = gatedFile{f, gate}
		}
		return f, err
	}
	dir := t.TempDir()
	go func() { gate <- struct{}{} }() // the header
	j := mustOpen(t, dir, JournalConfig{Mode: Sync, create: slow})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { set(t, j, fmt.Sprint(i), 1) })
	}
	waitFor(t, func() bool { return j.Stats().AORs == 50 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, j.log.commit(ctx, 50), context.Canceled, "waiting for the disk obeys ctx")
	close(gate)
	wg.Wait()
	require.LessOrEqual(t, j.Stats().Writes, uint64(3))
	require.EqualValues(t, 50, j.Stats().Written)
}

type gatedFile struct {
	file
	gate chan struct{}
}

func (f gatedFile) Sync() error { <-f.gate; return f.file.Sync() }

// Whatever a file holds, every octet is either part of a record that was applied, or reported as damage, or one of the zeros at the end.
func FuzzJournalFile(f *testing.F) {
	raw, _ := prepare(f)
	f.Add(raw)
	f.Add(raw[:len(raw)-3])
	f.Add(append(slices.Clone(raw[:2*headerLen+5]), raw[2*headerLen:]...))
	f.Add(appendHeader(nil, 0))
	f.Add([]byte{})
	r := bufio.NewReaderSize(nil, 2*(recordHeader+maxPayload))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r.Reset(bytes.NewReader(raw))
		l := loader{j: new(Journal), now: time.Now().UnixNano()}
		defer l.j.mem.Close()
		applied := 0
		s := scanner{r: r, apply: func(payload []byte) bool {
			ok := l.apply(payload)
			if ok {
				applied += recordHeader + len(payload)
			}
			return ok
		}}
		if err := s.header(); err != nil {
			require.ErrorIs(t, err, errVersion)
			return
		}
		salt, _, _ := parseHeader(raw[:min(len(raw), 2*headerLen)])
		require.NoError(t, s.records(salt))
		total, end := int64(applied), int64(0)
		if s.headed {
			total += int64(2 * headerLen)
		}
		for _, d := range s.damage {
			require.GreaterOrEqual(t, d.Offset, end)
			total, end = total+d.Length, d.Offset+d.Length
		}
		require.Zero(t, len(bytes.TrimLeft(raw[total:], "\x00")))
	})
}
