//go:build linux

package registrar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func openMapped(t *testing.T, allocate func(f *os.File, off, n int64) error) (m *mappedFile, path string) {
	path = filepath.Join(t.TempDir(), "f")
	f, err := createFile(path)
	require.NoError(t, err)
	m = mapFile(f.(*os.File), 0, allocate).(*mappedFile)
	t.Cleanup(func() { _ = m.Close() })
	return m, path
}

// written writes pieces of all sizes, over the ends of several windows, and returns them.
func written(t *testing.T, w io.Writer, r *rand.Rand, total int) (all []byte) {
	for len(all) < total {
		piece := make([]byte, 1+r.IntN(3*firstWindow>>r.IntN(12)))
		for i := range piece {
			piece[i] = byte(1 + r.IntN(255))
		}
		n, err := w.Write(piece)
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
		all = append(all, piece...)
	}
	return all
}

// What was written is in the file at once, whoever reads it, and nothing but zeros behind it.
func requireFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(got, want))
	require.Empty(t, bytes.TrimLeft(got[len(want):], "\x00"))
}

func TestMappedFileGrows(t *testing.T) {
	m, path := openMapped(t, allocate)
	r := rand.New(rand.NewPCG(1, 2))
	all := written(t, m, r, 12<<20)
	require.False(t, m.plain)
	requireFile(t, path, all)
	require.NoError(t, m.Truncate(int64(len(all))-100_001))
	all = append(all[:len(all)-100_001], written(t, m, r, 1<<20)...)
	requireFile(t, path, all)
	require.NoError(t, m.Sync())
	require.NoError(t, m.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(all, got), "what was made ready is cut off")
}

// atMost gives that many windows and no more.
func atMost(windows int64, asked *atomic.Int64) func(f *os.File, off, n int64) error {
	return func(f *os.File, off, n int64) error {
		if asked.Add(1) > windows {
			return unix.EOPNOTSUPP
		}
		return allocate(f, off, n)
	}
}

// A file system that cannot give room ahead, from the start or later, is written by write(2).
func TestMappedFileCannotAllocate(t *testing.T) {
	for windows := range 4 {
		var asked atomic.Int64
		m, path := openMapped(t, atMost(int64(windows), &asked))
		all := written(t, m, rand.New(rand.NewPCG(3, 4)), 1<<20)
		require.True(t, m.plain)
		require.EqualValues(t, windows+1, asked.Load(), "not asked again and again")
		requireFile(t, path, all)
		require.NoError(t, m.Close())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(all, got), "nothing behind what was written")
	}
}

// A page that is not there is an error: the file was cut by someone else, as it would be by a disk that breaks.
func TestMappedFileFault(t *testing.T) {
	m, path := openMapped(t, atMost(1, new(atomic.Int64))) // a next one would make the file long again
	_, err := m.Write(make([]byte, 5000))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 0))
	_, err = m.Write(make([]byte, 3*os.Getpagesize()))
	require.ErrorContains(t, err, "write to mapping")
}

func TestJournalFault(t *testing.T) {
	dir := t.TempDir()
	alarms := make(chan error, 10)
	j := mustOpen(t, dir, JournalConfig{Retry: time.Millisecond, Alarm: func(err error) { alarms <- err }, allocate: atMost(1, new(atomic.Int64))})
	set(t, j, "a@x", 1)
	require.NoError(t, os.Truncate(lastFile(t, dir, journalName), 0))
	for i := range 200 { // beyond the page that is there no more
		set(t, j, fmt.Sprint(i, "@x"), 1)
	}
	require.ErrorContains(t, alarm(t, alarms), "write to mapping")
	require.NoError(t, alarm(t, alarms), "a new file was begun")
	want := content(j)
	require.Len(t, want, 201)
	require.NoError(t, j.Close())
	require.Equal(t, want, content(mustOpen(t, dir, JournalConfig{})))
}

func alarm(t *testing.T, alarms chan error) error {
	t.Helper()
	select {
	case err := <-alarms:
		return err
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no alarm")
		return nil
	}
}

// crashed copies a directory as it is while its journal is open: what a process that is killed leaves.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // a probe of the disk
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, f.Name()), b, 0o600))
	}
	return to
}

// The room made ready behind the records is the end of the file, not damage, and what is written after a restart takes it.
func TestJournalZeroTail(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, JournalConfig{})
	for round := range uint32(3) {
		for i := range 3000 {
			set(t, j, fmt.Sprint(i, "@x"), 1+round)
		}
		info, err := os.Stat(lastFile(t, dir, journalName))
		require.NoError(t, err)
		require.Greater(t, info.Size(), j.Stats().Size, "nothing was made ready")
		dir = crashed(t, dir)
		want := content(j)
		require.Len(t, want, 3000)
		require.NoError(t, j.Close())
		j = mustOpen(t, dir, JournalConfig{})
		require.Empty(t, j.Stats().Damage)
		require.Equal(t, want, content(j))
	}
}

// A kill in the middle of a record leaves its beginning, then zeros.
func TestJournalTornBeforeZeros(t *testing.T) {
	raw, offsets := prepare(t)
	for n := offsets[2]; n < offsets[3]; n++ {
		dir := t.TempDir()
		j := openRaw(t, dir, append(bytes.Clone(raw[:n]), make([]byte, firstWindow)...), io.Discard)
		want := map[string]uint32{"a@x": 1, "b@x": 2}
		whole := len(bytes.TrimLeft(raw[n:], "\x00")) == 0 // zeros are all that was cut off
		if whole {
			want["c@x"] = 3
		}
		require.Equal(t, want, content(j), "cut at %d", n)
		if torn := bytes.TrimRight(raw[offsets[2]:n], "\x00"); len(torn) > 0 && !whole {
			require.Equal(t, []Damage{{File: "journal-0000000000000001", Offset: offsets[2], Length: int64(len(torn)), Torn: true}}, j.Stats().Damage)
		} else {
			require.Empty(t, j.Stats().Damage)
		}
		set(t, j, "d@x", 4)
		require.NoError(t, j.Close())
		j = mustOpen(t, dir, JournalConfig{})
		require.Empty(t, j.Stats().Damage)
		want["d@x"] = 4
		require.Equal(t, want, content(j))
		require.NoError(t, j.Close())
	}
}

// Pages that a loss of power left out are damage in the middle: what is behind them is found.
func TestJournalHoleInTheMiddle(t *testing.T) {
	raw, offsets := prepare(t)
	clear(raw[offsets[1]:offsets[2]])
	j := openRaw(t, t.TempDir(), append(raw, make([]byte, 5000)...), io.Discard)
	require.Equal(t, map[string]uint32{"a@x": 1, "c@x": 3}, content(j))
	require.Equal(t, []Damage{{File: "journal-0000000000000001", Offset: offsets[1], Length: offsets[2] - offsets[1]}}, j.Stats().Damage)
	require.NoError(t, j.Close())
}

// Nothing is gained by leaving records in memory that cost no system call: what was updated survives without a Flush.
func TestJournalGatherMapped(t *testing.T) {
	for windows, waits := range []bool{0: true, 1: false} {
		dir := t.TempDir()
		j := mustOpen(t, dir, JournalConfig{Gather: true, Delay: time.Hour, allocate: atMost(int64(windows), new(atomic.Int64))})
		set(t, j, "a@x", 1)
		require.NoError(t, j.Flush(t.Context())) // the first write finds out
		set(t, j, "b@x", 2)
		want := map[string]uint32{"a@x": 1}
		if !waits {
			want["b@x"] = 2
		}
		require.Equal(t, want, content(mustOpen(t, crashed(t, dir), JournalConfig{})))
	}
}

// childDisk names the directory to a child process of TestJournalRealFullDisk.
const childDisk = "SIPKIT_JOURNAL_DISK"

// A real disk that is full, a tmpfs of 1 MiB in a mount namespace of a child process.
func TestJournalRealFullDisk(t *testing.T) {
	if dir := os.Getenv(childDisk); dir != "" {
		fillDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestJournalRealFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), childDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || bytes.Contains(out, []byte(cannotMount)) {
		t.Skip("no mount namespace here")
	}
	require.NoError(t, err, "%s", out)
}

const cannotMount = "cannot mount"

func fillDisk(t *testing.T, dir string) {
	err := errors.Join(unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	if err != nil {
		t.Skip(cannotMount, err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	ballast, data := filepath.Join(dir, "ballast"), filepath.Join(dir, "data")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 700<<10), 0o600))
	alarms := make(chan error, 10)
	j := mustOpen(t, data, JournalConfig{Retry: time.Millisecond, Alarm: func(err error) { alarms <- err }})
	n := 0
	for ; !j.Stats().Degraded; n++ {
		require.Less(t, n, 100_000, "the disk never gets full")
		set(t, j, fmt.Sprint(n, "@x"), 1)
	}
	require.ErrorIs(t, alarm(t, alarms), unix.ENOSPC)
	acknowledged := int(j.Stats().Written)
	require.Greater(t, acknowledged, 1000)
	require.EqualValues(t, n-acknowledged, j.Stats().Lost)
	after := mustOpen(t, crashed(t, data), JournalConfig{}) // on another disk
	require.Len(t, content(after), acknowledged)
	for i := range 1000 {
		set(t, j, fmt.Sprint(i, "@x"), 2)
	}
	require.Equal(t, n, j.Stats().AORs, "calls go on from memory")

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, alarm(t, alarms))
	set(t, j, "after@x", 3)
	want := content(j)
	require.False(t, j.Stats().Degraded)
	require.NoError(t, j.Close())
	j = mustOpen(t, data, JournalConfig{})
	require.Empty(t, j.Stats().Damage)
	require.Equal(t, want, content(j))
	require.NoError(t, j.Close())
}
