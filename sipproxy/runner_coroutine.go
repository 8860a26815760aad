package sipproxy

import (
	"iter"
	"sync"
)

// A coroutine is the fast task: work runs on the goroutine that called start until it parks, and continues on the
// goroutine that called wake. No thread is woken for it.
type coroutine struct {
	pool *coroutines
	next func() (struct{}, bool)
	stop func()

	yield func(struct{}) bool
	work  job
	ended bool   // work has returned
	away  func() // what block wants run elsewhere
	fault any    // what away panicked with
	job   job    // what outside or last wants run by the driver
	gid   uint64

	mu      sync.Mutex
	running bool // some goroutine is inside next
	awake   bool // a wake came while running
}

// coroutines is a server's pool. A coroutine made outside a synctest bubble must not be resumed inside it, hence no global one.
type coroutines struct {
	s    *Server
	mu   sync.Mutex
	idle []*coroutine
	shut bool
}

// idleCoroutines is how many a server keeps for reuse; some 4 KiB each.
const idleCoroutines = 4096

// stopped unwinds a handler whose server was closed while it waited.
type stopped struct{}

func (p *coroutines) take() *coroutine {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c
	}
	p.mu.Unlock()
	c := &coroutine{pool: p}
	c.next, c.stop = iter.Pull(c.body)
	return c
}

func (p *coroutines) give(c *coroutine) {
	p.mu.Lock()
	if !p.shut && len(p.idle) < idleCoroutines {
		p.idle = append(p.idle, c)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	c.stop()
}

// close stops the idle ones and those given back later.
func (p *coroutines) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.shut = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.stop()
	}
}

func (c *coroutine) body(yield func(struct{}) bool) {
	c.yield = yield
	if c.pool.s.strict != nil {
		c.gid = goroutineID()
	}
	for {
		c.work.run()
		c.work = nil
		c.ended = true
		if !yield(struct{}{}) {
			return
		}
	}
}

func (c *coroutine) start(work job) {
	c.work, c.ended, c.awake = work, false, false
	c.running = true
	c.drive()
}

func (c *coroutine) wake() {
	c.mu.Lock()
	if c.running {
		c.awake = true
		c.mu.Unlock()
		return
	}
	c.running = true
	c.mu.Unlock()
	c.drive()
}

// drive resumes the coroutine until it waits with no wake pending, or has ended.
func (c *coroutine) drive() {
	dead := true // runtime.Goexit in the handler unwinds this goroutine too
	defer func() {
		if dead {
			c.pool.s.tasks.done()
		}
	}()
	for {
		for c.next(); c.job != nil; c.next() {
			j := c.job
			c.job = nil
			if j.run() || c.ended {
				break
			}
		}
		if c.ended {
			dead = false
			c.pool.s.tasks.done()
			c.pool.give(c)
			return
		}
		c.mu.Lock()
		if f := c.away; f != nil {
			c.away, c.running = nil, false
			c.mu.Unlock()
			dead = false
			go c.runAway(f)
			return
		}
		if !c.awake {
			c.running = false
			c.mu.Unlock()
			dead = false
			return
		}
		c.awake = false
		c.mu.Unlock()
	}
}

func (c *coroutine) park() {
	if !c.yield(struct{}{}) {
		panic(stopped{})
	}
}

func (c *coroutine) outside(j job) {
	c.job = j
	c.park()
}

func (c *coroutine) last(j job) { c.job = j }

func (c *coroutine) block(f func()) {
	c.away = f
	c.park()
	if v := c.fault; v != nil {
		c.fault = nil
		panic(v)
	}
}

// runAway runs what block was given and then the rest of the handler. A panic goes on in the handler, where it is answered with a 500.
func (c *coroutine) runAway(f func()) {
	defer c.wake()
	defer func() { c.fault = recover() }()
	f()
}

func (c *coroutine) id() uint64 { return c.gid }
