package main

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// batch makes the process one of class SCHED_BATCH (sched(7)): when a datagram wakes it, it does not push whoever runs off the processor, but waits until he
// pauses. Where a processor is idle nothing changes. Where all are busy, with the peers of a test on the same machine for instance, it finds more datagrams at a
// time and switches less; docs/performance.md has the figures. Who chose another class, as chrt(1) and systemd do, keeps it.
func batch() error {
	for range 3 { // a thread that is not there yet may be started by one that was not asked yet; from then on all inherit the class
		left, err := batchThreads()
		if left == 0 || err != nil {
			return err
		}
	}
	return nil
}

// batchThreads changes the threads there are and tells how many it had to.
func batchThreads() (changed int, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err == nil && attr.Policy == unix.SCHED_NORMAL {
			attr.Policy, attr.Runtime = unix.SCHED_BATCH, 0 // and the niceness it has
			changed++
			err = unix.SchedSetAttr(id, attr, 0)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // the thread has ended
			return changed, os.NewSyscallError("sched_setattr", err)
		}
	}
	return changed, nil
}
