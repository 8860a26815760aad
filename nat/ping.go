package nat

import (
	"cmp"
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A Contact is a registered phone to keep alive.
type Contact struct {
	ID     string  // tells it from others; "": its URI and Remote do
	URI    sip.URI // what it registered
	Local  transport.Addr
	Remote transport.Addr // where the REGISTER came from
	Path   []sip.URI      // by which it is reached instead
}

// A Pinger keeps the pinholes of registered phones open: it sends to each, once an interval, from the socket of its registration. Fill the fields, then
// Run. It must not be copied.
type Pinger struct {
	// Contacts yields those to keep alive, at the start of each round; it may wait. Phones that send keepalives by themselves (outbound) need none.
	Contacts func(context.Context) iter.Seq[Contact]

	Interval time.Duration // between two pings of a contact; 30 s. The contacts are spread over it

	// Datagram sends four zero bytes, or CRLF over connections, instead of OPTIONS: cheaper, but nothing answers, and a NAT that wants to see packets from inside
	// is not refreshed. Contacts behind a Path get OPTIONS in any case.
	Datagram bool
	From     string        // of OPTIONS: "<sip:keepalive@example.com>"; the default is made up from the contact
	Answer   time.Duration // how long an answer may take; 8 s. Any answer is a sign of life
	Open     int           // OPTIONS waiting for an answer; 1000. Beyond, pings are put off

	// Gone is called when a contact has failed to answer Failures times (3) on end, or its connection is closed, on a goroutine of the Pinger. It may wait.
	Gone     func(context.Context, Contact)
	Failures int

	mu     sync.Mutex
	failed map[string]int

	sent, answered, lost, gone atomic.Uint64
}

// PingStats are counters.
type PingStats struct {
	Sent     uint64
	Answered uint64
	Lost     uint64 // OPTIONS without an answer
	Gone     uint64
}

// Stats returns the counters.
func (p *Pinger) Stats() PingStats {
	return PingStats{p.sent.Load(), p.answered.Load(), p.lost.Load(), p.gone.Load()}
}

// Run pings until ctx ends, and returns its error once no ping is under way. The server must be Ready.
func (p *Pinger) Run(ctx context.Context, s *sipproxy.Server) error {
	open := make(chan struct{}, cmp.Or(max(0, p.Open), 1000))
	var group sync.WaitGroup
	defer group.Wait()
	interval := cmp.Or(max(0, p.Interval), 30*time.Second)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for start := time.Now(); ; start = start.Add(interval) {
		round := p.round(ctx)
		for i := range round {
			due := start.Add(interval * time.Duration(i) / time.Duration(len(round)))
			if !sleep(ctx, wait, time.Until(due)) {
				return ctx.Err()
			}
			c := &round[i]
			if p.Datagram && len(c.Path) == 0 {
				p.datagram(ctx, s, c)
				continue
			}
			select {
			case open <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			group.Go(func() {
				p.options(ctx, s, c)
				<-open
			})
		}
		if !sleep(ctx, wait, time.Until(start.Add(interval))) {
			return ctx.Err()
		}
		if late := time.Since(start.Add(interval)); late > interval {
			start = start.Add(late) // held up: do not catch up
		}
	}
}

// sleep waits, but not for less than what a timer is worth; false when ctx ends.
func sleep(ctx context.Context, t *time.Timer, d time.Duration) bool {
	if d < 5*time.Millisecond {
		return ctx.Err() == nil
	}
	t.Reset(d)
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// round takes the contacts of this round, and forgets the failures of those that are no longer there.
func (p *Pinger) round(ctx context.Context) (list []Contact) {
	for c := range p.Contacts(ctx) {
		list = append(list, c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make(map[string]int)
	if len(p.failed) > 0 {
		for i := range list {
			if n := p.failed[list[i].key()]; n > 0 {
				kept[list[i].key()] = n
			}
		}
	}
	p.failed = kept
	return list
}

func (c *Contact) key() string {
	if c.ID != "" {
		return c.ID
	}
	return c.URI.String() + " " + c.Remote.String()
}

var (
	zeros    = []byte{0, 0, 0, 0}
	lineFeed = []byte("\r\n")
)

func (p *Pinger) datagram(ctx context.Context, s *sipproxy.Server, c *Contact) {
	f, ok := s.FlowTo(c.Local, c.Remote)
	if !ok {
		p.failure(ctx, c, true)
		return
	}
	ping := zeros
	if f.Proto().Reliable() {
		ping = lineFeed
	}
	p.sent.Add(1)
	_ = f.SendRaw(ping, nil) // lost pings are no news
}

// options asks a phone for a sign of life with a complete request (REQUIREMENTS J16: Max-Forwards included).
func (p *Pinger) options(ctx context.Context, s *sipproxy.Server, c *Contact) {
	t := sipproxy.Target{URI: c.URI, Path: c.Path}
	if len(c.Path) == 0 && !c.Remote.IsZero() {
		f, ok := s.FlowTo(c.Local, c.Remote)
		if !ok {
			p.failure(ctx, c, true)
			return
		}
		t.Flow = f
	}
	bound, stop := context.WithTimeout(ctx, cmp.Or(max(0, p.Answer), 8*time.Second))
	defer stop()
	req := sip.NewRequest(sip.OPTIONS, c.URI)
	if p.From != "" {
		req.Add("From", p.From+";tag="+s.Sign("ping", c.key(), time.Now().String()))
	}
	p.sent.Add(1)
	res := s.Request(bound, req, t)
	switch {
	case ctx.Err() != nil:
	case res.Cause == nil:
		p.answered.Add(1)
		p.mu.Lock()
		delete(p.failed, c.key())
		p.mu.Unlock()
	default:
		p.lost.Add(1)
		p.failure(ctx, c, false)
	}
}

// failure counts one, and tells when they are too many.
func (p *Pinger) failure(ctx context.Context, c *Contact, dead bool) {
	key := c.key()
	p.mu.Lock()
	p.failed[key]++
	gone := dead || p.failed[key] >= cmp.Or(max(0, p.Failures), 3)
	if gone {
		delete(p.failed, key)
	}
	p.mu.Unlock()
	if !gone {
		return
	}
	p.gone.Add(1)
	if p.Gone != nil {
		p.Gone(ctx, *c)
	}
}
