package sipproxy

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// ErrCanceled is the cause of a handler's context after the caller's CANCEL, or Request.Cancel.
var ErrCanceled = errors.New("sipproxy: cancelled")

// ErrDone is the cause of a handler's context after the handler has returned.
var ErrDone = errors.New("sipproxy: request finished")

// ErrClosed is the cause of a handler's context when its server closes before it has finished.
var ErrClosed = errors.New("sipproxy: server closed")

// A Code as the cause of a context given to Forward is the code Forward returns once its branches have been cancelled.
type Code int

func (c Code) Error() string { return "sipproxy: ended with " + strconv.Itoa(int(c)) }

// requestContext is the context of a handler. It is the request itself, so that it costs nothing, and it makes its channel
// only when somebody asks for it.
type requestContext Request

func (c *requestContext) request() *Request { return (*Request)(c) }

func (c *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.cause != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return context.Canceled
	}
	return nil
}

func (c *requestContext) Value(key any) any {
	if _, ok := key.(requestKey); ok {
		return c.request()
	}
	return nil
}

// AfterFunc lets derived contexts follow this one without a goroutine each; package context looks for it.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		go f()
		return func() bool { return false }
	}
	e := &after{f: f}
	c.afters = append(c.afters, e)
	c.mu.Unlock()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, x := range c.afters {
			if x == e {
				c.afters = append(c.afters[:i], c.afters[i+1:]...)
				return true
			}
		}
		return false
	}
}

type after struct{ f func() }

// endContext ends the handler's context once; what it returns is to be called without the lock. Called with r.mu held.
func (r *Request) endContext(cause error) []*after {
	if r.cause != nil {
		return nil
	}
	r.cause = cause
	if r.done != nil {
		close(r.done)
	}
	a := r.afters
	r.afters = nil
	return a
}

func runAfters(list []*after) {
	for _, a := range list {
		go a.f()
	}
}
