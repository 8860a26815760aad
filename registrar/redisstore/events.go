package redisstore

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/sipkit/sipkit/registrar"
)

// A change as it is published; integers are big-endian, text is uvarint(length) octets:
//
//	change = %x01 origin64 text(aor) uvarint(number of events) *event value
//	event  = kind8 (uvarint(1 + index) / %x00 text(packed binding))
//
// value, the rest, is what the key holds after the change. index counts its bindings, so that none is sent twice.
const changeVersion = 1

func appendHead(b []byte, origin uint64, aor registrar.AOR, events []registrar.Event, next []registrar.Binding) []byte {
	b = append(b, changeVersion)
	b = binary.BigEndian.AppendUint64(b, origin)
	b = appendText(b, string(aor))
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		e := &events[i]
		b = append(b, byte(e.Kind))
		if n := index(next, e); n >= 0 {
			b = binary.AppendUvarint(b, uint64(1+n))
			continue
		}
		b = append(b, 0)
		b = appendText(b, string(registrar.AppendBindings(nil, []registrar.Binding{e.Binding})))
	}
	return b
}

// index is where among those after the change the binding of e is; -1: it is gone.
func index(next []registrar.Binding, e *registrar.Event) int {
	if e.Kind != registrar.Registered && e.Kind != registrar.Refreshed {
		return -1
	}
	a := &e.Binding
	for i := range next {
		b := &next[i]
		if a.RegID == b.RegID && a.Instance == b.Instance && a.Contact == b.Contact {
			return i
		}
	}
	return -1
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A change is one that was heard, not wholly decoded.
type change struct {
	origin uint64
	aor    registrar.AOR
	events string
	count  uint64
	value  value
}

// parseChange finds the parts; false: it is none of ours.
func parseChange(s string) (c change, ok bool) {
	const fixed = 1 + 8
	if len(s) < fixed || s[0] != changeVersion {
		return c, false
	}
	c.origin = binary.BigEndian.Uint64([]byte(s[1:fixed]))
	aor, rest, ok := cutText(s[fixed:])
	if !ok {
		return c, false
	}
	c.aor = registrar.AOR(aor)
	if c.count, rest, ok = cutUvarint(rest); !ok {
		return c, false
	}
	c.events = rest
	for range c.count {
		if _, _, _, rest, ok = cutEvent(rest); !ok {
			return c, false
		}
	}
	c.events, c.value = c.events[:len(c.events)-len(rest)], value(rest)
	return c, rest == "" || len(rest) > versionLen
}

// cutEvent gives the index, or -1 and the packed binding.
func cutEvent(s string) (kind registrar.EventKind, index int, packed, rest string, ok bool) {
	if s == "" {
		return 0, 0, "", "", false
	}
	kind = registrar.EventKind(s[0])
	n, rest, ok := cutUvarint(s[1:])
	if !ok || n > maxState {
		return 0, 0, "", "", false
	}
	if n == 0 {
		packed, rest, ok = cutText(rest)
	}
	return kind, int(n) - 1, packed, rest, ok
}

func cutUvarint(s string) (uint64, string, bool) {
	v, n := binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen64)]))
	if n <= 0 {
		return 0, "", false
	}
	return v, s[n:], true
}

func cutText(s string) (text, rest string, ok bool) {
	n, rest, ok := cutUvarint(s)
	if !ok || n > uint64(len(rest)) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// bindings are those after the change.
func (c *change) bindings() []registrar.Binding {
	bs, _ := c.value.bindings(time.Time{})
	return bs
}

// tell calls f for each event. bs are those after the change.
func (c *change) tell(bs []registrar.Binding, f func(registrar.Event)) {
	rest := c.events
	for range c.count {
		kind, i, packed, r, _ := cutEvent(rest)
		rest = r
		if kind < registrar.Registered || kind > registrar.Expired {
			continue
		}
		e := registrar.Event{Kind: kind, AOR: c.aor}
		if i >= 0 {
			if i >= len(bs) {
				continue
			}
			e.Binding = bs[i]
		} else {
			old, err := registrar.DecodeBindings(packed)
			if err != nil || len(old) != 1 {
				continue
			}
			e.Binding = old[0]
		}
		f(e)
	}
}

// A hub hands changes to watchers, each with a bounded queue.
type hub struct {
	mu       sync.Mutex
	watchers []chan change
}

func (h *hub) add(w chan change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers = append(h.watchers, w)
}

func (h *hub) remove(w chan change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers = slices.DeleteFunc(h.watchers, func(x chan change) bool { return x == w })
}

// publish returns how many watchers had no room.
func (h *hub) publish(c change) (dropped uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.watchers {
		select {
		case w <- c:
		default:
			dropped++
		}
	}
	return dropped
}

// Watch implements registrar.Store. It tells the changes of all nodes, as far as this one is connected. Expired is told of
// bindings that were registered or refreshed since Watch began, at most a second late: after the longest time for which phones register it is complete.
func (s *Store) Watch(ctx context.Context, f func(registrar.Event)) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan change, s.cfg.EventQueue)
	s.hub.add(changes)
	defer s.hub.remove(changes)
	// Redis drops a key silently and knows nothing of single bindings: a copy of what is heard expires here.
	copied := &registrar.Memory{EventQueue: s.cfg.EventQueue}
	expired := make(chan registrar.Event)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = copied.Close() }()
	wg.Go(func() {
		_ = copied.Watch(ctx, func(e registrar.Event) {
			if e.Kind != registrar.Expired {
				return
			}
			select {
			case expired <- e:
			case <-ctx.Done():
			case <-s.ctx.Done():
			}
		})
	})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return registrar.ErrClosed
		case e := <-expired:
			f(e)
		case c := <-changes:
			bs := c.bindings()
			_ = copied.Update(ctx, c.aor, func([]registrar.Binding) ([]registrar.Binding, error) { return bs, nil })
			c.tell(bs, f)
		}
	}
}
