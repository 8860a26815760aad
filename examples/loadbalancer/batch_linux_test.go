package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// All threads get the class, and keep the niceness that the one who started the server gave them.
func TestBatch(t *testing.T) {
	before, err := unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	if before.Policy != unix.SCHED_NORMAL {
		t.Skip("these tests run in another class, which batch leaves alone")
	}
	defer unbatch(t)
	require.NoError(t, batch())
	for _, a := range attrs(t) {
		require.EqualValues(t, unix.SCHED_BATCH, a.Policy)
		require.Equal(t, before.Nice, a.Nice)
	}
	changed, err := batchThreads()
	require.NoError(t, err)
	require.Zero(t, changed)
}

func threads(t *testing.T) (ids []int) {
	list, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, e := range list {
		id, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

func attrs(t *testing.T) (all []*unix.SchedAttr) {
	for _, id := range threads(t) {
		if a, err := unix.SchedGetAttr(id, 0); err == nil { // it may have ended
			all = append(all, a)
		}
	}
	return all
}

// unbatch gives the other tests their class back.
func unbatch(t *testing.T) {
	for _, id := range threads(t) {
		a, err := unix.SchedGetAttr(id, 0)
		if err == nil {
			a.Policy, a.Runtime = unix.SCHED_NORMAL, 0
			_ = unix.SchedSetAttr(id, a, 0)
		}
	}
}
