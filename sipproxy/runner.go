package sipproxy

import (
	"context"
	"sync/atomic"
	"time"
)

// A task runs one handler, or the hooks of a request whose handler has returned, and lets it wait. It is all that
// the engine knows of how handlers run; runner_goroutine.go and runner_coroutine.go are the two kinds.
type task interface {
	// start runs work until it parks or ends (coroutine), or only begins it (goroutine). Called once.
	start(work job)
	// park gives up the goroutine until wake. Called on the task.
	park()
	// wake ends one park, also one that has not quite begun. Called elsewhere, once a park.
	wake()
	// block runs f elsewhere when waiting here would hold up others. Called on the task.
	block(f func())
	// outside runs j on the stack of the goroutine that resumed the task, where that is another one, and then parks if j asks for it. A handler that waits
	// keeps its stack for as long as the phone rings; what forwarding needs of stack does not stay with it. Called on the task.
	outside(j job)
	// last is outside for what ends the task: where it can, it runs j only when the work that calls it has returned. Called on the task, as the last thing.
	last(j job)
	// id identifies the goroutine of the task, when the server checks contract 14; 0 otherwise.
	id() uint64
}

// A job is work for a task, as a converted pointer rather than a closure: it costs no allocation. One that runs outside says whether the task is to park
// until it is woken: it need not be resumed for that.
type job interface{ run() (park bool) }

// newTask makes a task of the kind the server is set to. It counts as running until it ends, so it has to be started.
func (s *Server) newTask() task {
	s.tasks.n.Add(1)
	if s.Runner == Goroutines || s.onGoroutines() {
		return &goroutine{s: s, ch: make(chan struct{}, 1)}
	}
	return s.coroutines.take()
}

// handlerTask is newTask for the handler of r, on the goroutine that read r.
func (s *Server) handlerTask(r *Request) task {
	inline := r.tx == nil || r.Flow.Reading() && !s.waiters.expected(r.Method)
	if !inline || s.Runner == Goroutines || s.onGoroutines() {
		return s.newTask()
	}
	s.tasks.n.Add(1)
	return (*inlineTask)(r)
}

// taskCount counts tasks that have not ended. It is no WaitGroup because tasks may begin while the server waits for them to end.
type taskCount struct {
	n       atomic.Int64
	closing atomic.Bool
	none    chan struct{} // told of zero once closing
}

func (c *taskCount) done() {
	if c.n.Add(-1) == 0 && c.closing.Load() {
		select {
		case c.none <- struct{}{}:
		default:
		}
	}
}

// wait waits for the tasks to end, but not for long.
func (c *taskCount) wait(bound time.Duration) bool {
	c.closing.Store(true)
	late := time.NewTimer(bound)
	defer late.Stop()
	for c.n.Load() > 0 {
		select {
		case <-c.none:
		case <-late.C:
			return false
		}
	}
	return true
}

// requestKey finds the request a context belongs to.
type requestKey struct{}

// Block runs f, which may wait for a database or another server, without holding up the
// reader that runs the handler. It returns when f has. ctx is the handler's or one derived
// from it; with any other ctx Block just calls f. Packages of this library that wait use it.
func Block(ctx context.Context, f func()) {
	r, _ := ctx.Value(requestKey{}).(*Request)
	if r == nil {
		f()
		return
	}
	r.onTask("Block")
	r.currentTask().block(f)
}
