package sipproxy

import (
	"log/slog"

	"github.com/sipkit/sipkit/sip"
)

// hooks are what the handlers of a request have hung on it. Few requests have any, so they do not lie in each one.
type hooks struct {
	branch   []func(*Branch)
	send     []func(*Branch)
	response []func(*Branch, *sip.Response)
	queue    []delivery // on their way through response
}

var noHooks hooks // of a request without any; read only

// hung are the hooks of r, to be read. Those for responses are guarded by r.mu.
func (r *Request) hung() *hooks {
	if r.hooks == nil {
		return &noHooks
	}
	return r.hooks
}

// ownHooks are the hooks of r, to be added to.
func (r *Request) ownHooks() *hooks {
	if r.hooks == nil {
		h := new(hooks)
		r.mu.Lock() // responses are matched on other goroutines
		r.hooks = h
		r.mu.Unlock()
	}
	return r.hooks
}

// A delivery is a response on its way through the OnResponse hooks.
type delivery struct {
	b   *Branch
	res *sip.Response
}

// enqueue leaves a response to the request's task, because a hook wants it. Called with r.mu held; it reports whether
// the task is to be woken, and a task to be started, both after the lock is released.
func (r *Request) enqueue(b *Branch, res *sip.Response) (wake bool, fresh task) {
	if r.returned && !r.draining && r.srv.tasks.closing.Load() {
		return false, nil // it would find no server when it ends
	}
	r.hooks.queue = append(r.hooks.queue, delivery{b, res})
	switch {
	case r.waiting:
		r.waiting = false
		return true, nil
	case r.returned && !r.draining:
		r.draining = true
		r.task = r.srv.newTask()
		return false, r.task
	}
	return false, nil
}

// drainJob is drainHooks on a task of its own.
type drainJob Request

func (j *drainJob) run() bool {
	(*Request)(j).drainHooks()
	return false
}

// drainHooks runs the hooks of responses that came while nobody waited for them, after the handler has returned.
func (r *Request) drainHooks() {
	r.mu.Lock()
	for len(r.hung().queue) > 0 {
		r.runHookSafely()
	}
	r.draining = false
	r.mu.Unlock()
}

// runHookSafely drops the response of a hook that panics; there is no handler left to answer for it. r.mu as in runHook.
func (r *Request) runHookSafely() {
	normal := false
	defer func() {
		if normal {
			return
		}
		v := recover()
		if v == nil {
			r.abandoned()
			return
		}
		r.srv.panicked(r, v)
		r.mu.Lock()
	}()
	r.runHook()
	normal = true
}

// abandoned leaves what is queued to a fresh task, when runtime.Goexit in a hook ends the one at hand. Called without r.mu.
func (r *Request) abandoned() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hung().queue) == 0 {
		r.draining = false
		return
	}
	r.task = r.srv.newTask()
	go r.task.start((*drainJob)(r))
}

// runHook takes the first response of the queue through the hooks and then through the engine. Called on the task with r.mu
// held; released meanwhile.
func (r *Request) runHook() {
	d := r.hooks.queue[0]
	r.hooks.queue = r.hooks.queue[1:]
	if kept := d.b.keptCopy(d.res); kept != nil { // the first one was still with the hooks when this copy came
		r.relaySuccess(kept)
		return
	}
	if !d.res.IsProvisional() {
		d.b.unshare() // for the hooks to fork with
	}
	tag, code := d.res.ToTag(), d.res.Code
	hooks := r.hooks.response
	r.mu.Unlock()
	for i := len(hooks) - 1; i >= 0; i-- {
		hooks[i](d.b, d.res)
	}
	if now := d.res.Code; (now < 200) != (code < 200) || now < 100 || now > 699 {
		r.srv.log().Error("a hook made a final response provisional, or the other way round", slog.String("call-id", r.CallID()))
		d.res.Code = code
	}
	r.mu.Lock()
	d.b.keep(tag, d.res)
	d.b.process(d.res)
}
