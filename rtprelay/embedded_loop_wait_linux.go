package rtprelay

import "golang.org/x/sys/unix"

// sleep waits for a first packet and then for more to gather.
func (q *poller) sleep() {
	var first [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(q.epfd, first[:], -1)
		if err == nil && n > 0 {
			break
		}
	}
	_, _ = unix.Poll(nil, gatherMillis)
}
