package rtprelay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// A Member is one engine of a Set.
type Member struct {
	// Name becomes Result.Node. It must be unique in the set and the same at every proxy that shares the engines, whatever the order
	// of the list; "": the position in the list, from 1.
	Name   string
	Engine Engine
	Weight int // share of the calls; 0: 1, negative: none but those it has
}

// A Set spreads calls over engines. It implements Engine, Player and Recorder; what a member cannot do is ErrUnsupported. Fields must not change
// once it is in use; methods are safe for concurrent use.
//
// A call goes to the member with the highest weighted rendezvous hash of its Call-ID, so every proxy with the same members makes the same choice
// without asking, and a member that comes or goes moves only its own calls. An Offer that finds no engine there (ErrUnavailable) is redone as a whole at the next one.
// Where a call is, is remembered, and told as Result.Node. Later requests go there: by Ref.Node, by memory, else by hash, the next best being asked when
// one says ErrNoSession.
//
// A member that does not answer is left out and probed in the background until it does; no call waits for it. Members share no lock while they work, so one that hangs
// delays none but its own calls.
type Set struct {
	Members []Member

	Attempts int           // members an offer is tried at; 0: 3
	Hedge    time.Duration // ask the next member too when the first one is silent for so long, and take who answers first; 0: never
	Pending  int           // requests waiting for one member, beyond which it counts as full; 0: 1000

	Probe    time.Duration              // longest pause between probes of a member that is out; 0: 30 s. The first come after 1, 2, 4 ... s
	Ping     time.Duration              // probe members that are in as often; 0: never
	OnChange func(node string, up bool) // told on a goroutine of its own
	Bindings int                        // calls remembered; 0: 200,000
	Remember time.Duration              // how long at least after the last request, unless there are too many; 0: 6 h

	once     sync.Once
	err      error
	members  []*member
	bindings bindings

	mu     sync.Mutex
	closed bool
	ctx    context.Context // of probes and clean-up
	cancel context.CancelFunc
}

// Check reports every mistake in the configuration.
func (s *Set) Check() error {
	var errs []error
	seen := map[string]bool{}
	for i, m := range s.Members {
		name := memberName(&m, i)
		if m.Engine == nil {
			errs = append(errs, fmt.Errorf("rtprelay: member %q has no engine", name))
		}
		if seen[name] {
			errs = append(errs, fmt.Errorf("rtprelay: two members named %q", name))
		}
		seen[name] = true
	}
	if len(s.Members) == 0 {
		errs = append(errs, errors.New("rtprelay: set without members"))
	}
	return errors.Join(errs...)
}

func memberName(m *Member, i int) string {
	if m.Name != "" {
		return m.Name
	}
	return strconv.Itoa(i + 1)
}

func (s *Set) setup() error {
	s.once.Do(func() {
		if s.err = s.Check(); s.err != nil {
			return
		}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.bindings.limit, s.bindings.age = s.Bindings, s.Remember
		for i := range s.Members {
			c := &s.Members[i]
			m := &member{set: s, name: memberName(c, i), engine: c.Engine, weight: c.Weight}
			if m.weight == 0 {
				m.weight = 1
			}
			m.hash = hashString(fnvOffset, m.name)
			s.members = append(s.members, m)
		}
		if s.Ping > 0 {
			for _, m := range s.members {
				m.schedule(s.Ping)
			}
		}
	})
	return s.err
}

// Close stops probing and closes the members' engines.
func (s *Set) Close() error {
	if s.setup() != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.cancel()
	var errs []error
	for _, m := range s.members {
		m.stop()
		if c, ok := m.engine.(interface{ Close() error }); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// A NodeState tells how a member is doing.
type NodeState struct {
	Name     string
	Up       bool // answers, as far as is known
	Enabled  bool // see Set.Enable
	Pending  int  // requests waiting for it
	Requests uint64
	Failures uint64 // ErrUnavailable of any kind
	Downs    uint64 // times it was left out
}

// Nodes are the members in their order.
func (s *Set) Nodes() []NodeState {
	if s.setup() != nil {
		return nil
	}
	out := make([]NodeState, len(s.members))
	for i, m := range s.members {
		out[i] = m.state()
	}
	return out
}

// Enable lets a member take new calls, or no longer; those it has stay. It says whether there is such a member.
func (s *Set) Enable(node string, on bool) bool {
	if s.setup() != nil {
		return false
	}
	m := s.named(node)
	if m != nil {
		m.disabled.Store(!on)
	}
	return m != nil
}

func (s *Set) named(node string) *member {
	for _, m := range s.members {
		if m.name == node {
			return m
		}
	}
	return nil
}
