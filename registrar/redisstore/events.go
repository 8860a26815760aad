package redisstore

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/sipkit/sipkit/registrar"
)

// A change as it is published; integers are big-endian, text is uvarint(length) octets:
//
//	change = %x01 origin64 version64 text(aor) uvarint(number of events) *event state
//	event  = kind8 text(packed binding)
//
// state, the rest, is the packed form of all bindings after the change.
const changeVersion = 1

func appendHead(b []byte, origin uint64, version string, aor registrar.AOR, events []registrar.Event) []byte {
	b = append(b, changeVersion)
	b = binary.BigEndian.AppendUint64(b, origin)
	b = append(b, version...)
	b = appendText(b, string(aor))
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		b = append(b, byte(events[i].Kind))
		b = appendText(b, string(registrar.AppendBindings(nil, []registrar.Binding{events[i].Binding})))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A change is one that was heard, not wholly decoded.
type change struct {
	origin  uint64
	version string
	aor     registrar.AOR
	events  string
	count   uint64
	state   string
}

// parseChange finds the parts; false: it is none of ours.
func parseChange(s string) (c change, ok bool) {
	const fixed = 1 + 8 + versionLen
	if len(s) < fixed || s[0] != changeVersion {
		return c, false
	}
	c.origin = binary.BigEndian.Uint64([]byte(s[1:9]))
	c.version = s[9:fixed]
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
		if rest == "" {
			return c, false
		}
		if _, rest, ok = cutText(rest[1:]); !ok {
			return c, false
		}
	}
	c.events, c.state = c.events[:len(c.events)-len(rest)], rest
	return c, true
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

// value is what the key holds after the change.
func (c *change) value() value {
	if c.state == "" {
		return ""
	}
	return value(c.version + c.state)
}

// tell calls f for each event.
func (c *change) tell(f func(registrar.Event)) {
	rest := c.events
	for range c.count {
		kind := registrar.EventKind(rest[0])
		var packed string
		packed, rest, _ = cutText(rest[1:])
		bs, err := registrar.DecodeBindings(packed)
		if err == nil && len(bs) == 1 && kind >= registrar.Registered && kind <= registrar.Expired {
			f(registrar.Event{Kind: kind, AOR: c.aor, Binding: bs[0]})
		}
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
			if bs, err := registrar.DecodeBindings(c.state); err == nil {
				_ = copied.Update(ctx, c.aor, func([]registrar.Binding) ([]registrar.Binding, error) { return bs, nil })
			}
			c.tell(f)
		}
	}
}
