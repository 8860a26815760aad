package sipproxy

import (
	"bytes"
	"runtime"
	"strconv"
)

// wrongGoroutine is implemented by a Net (siptest's) that wants to hear of calls on a goroutine that may not make them.
type wrongGoroutine interface{ WrongGoroutine(what string) }

// onTask reports a call that is not made on the request's runner. It costs nothing but under test.
func (r *Request) onTask(what string) {
	if r.srv.strict == nil {
		return
	}
	if t := r.currentTask(); t == nil || t.id() != goroutineID() {
		r.srv.strict.WrongGoroutine(what)
	}
}

// goroutineID reads the number in the first line of a stack trace; there is no other way to it.
func goroutineID() uint64 {
	var b [64]byte
	f := bytes.Fields(b[:runtime.Stack(b[:], false)])
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseUint(string(f[1]), 10, 64)
	return n
}
