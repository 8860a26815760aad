package sipproxy

import (
	"cmp"
	"fmt"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// Limits bounds what a server takes on. A zero field means the default written beside it.
type Limits struct {
	Message          sip.Limits    // sizes of messages
	Transactions     int           // server transactions at once, finished ones in their 32 s included; 1,000,000; beyond: 503 with Retry-After
	Requests         int           // requests in progress (handler running or waiting); 250,000; beyond: 503 with Retry-After
	Branches         int           // branches of one request over all its Forwards; 64; beyond: 500
	Connections      int           // open connections; 10,000
	ConnectionsPerIP int           // 1,000
	Lookups          int           // DNS questions in progress; 256; beyond: they wait for at most 5 s, and then there is no address
	QueueBytes       int           // unsent bytes per connection; 256 KiB
	RetryAfter       time.Duration // in those 503; 5 s
}

func (l Limits) withDefaults() Limits {
	l.Transactions = cmp.Or(l.Transactions, 1_000_000)
	l.Requests = cmp.Or(l.Requests, 250_000)
	l.Branches = cmp.Or(l.Branches, 64)
	l.RetryAfter = cmp.Or(l.RetryAfter, 5*time.Second)
	return l
}

func (l Limits) check() (errs []error) {
	for _, x := range []struct {
		name string
		n    int
	}{
		{"Transactions", l.Transactions}, {"Requests", l.Requests}, {"Branches", l.Branches}, {"Connections", l.Connections},
		{"ConnectionsPerIP", l.ConnectionsPerIP}, {"QueueBytes", l.QueueBytes}, {"Lookups", l.Lookups}, {"RetryAfter", int(l.RetryAfter)},
		{"Message.MessageBytes", l.Message.MessageBytes}, {"Message.HeaderBytes", l.Message.HeaderBytes}, {"Message.Fields", l.Message.Fields},
		{"Message.Vias", l.Message.Vias}, {"Message.URIBytes", l.Message.URIBytes},
	} {
		if x.n < 0 {
			errs = append(errs, fmt.Errorf("sipproxy: Limits.%s is negative", x.name))
		}
	}
	return errs
}

// insert takes r into the list of requests in progress; false: there are too many.
func (s *Server) insert(r *Request) bool {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	if s.active >= s.limits.Requests || s.tasks.closing.Load() {
		return false
	}
	s.active++
	r.prev, r.next = s.list.prev, &s.list
	r.prev.next, s.list.prev = r, r
	r.Flow.Pin()
	return true
}

func (s *Server) remove(r *Request) {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	if r.next == nil {
		return
	}
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next = nil, nil
	r.Flow.Unpin()
	s.active--
	if s.active == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *Server) inProgress() (list []*Request) {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	for r := s.list.next; r != &s.list; r = r.next {
		list = append(list, r)
	}
	return list
}

// quiet is closed when no request is in progress.
func (s *Server) quiet() <-chan struct{} {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	if s.active == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	return s.idle
}
