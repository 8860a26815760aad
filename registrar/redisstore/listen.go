package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// probeVersion begins what is published at each heartbeat, where a change has changeVersion:
//
//	probe = %x02 nonce64
const probeVersion = 2

// A feed is one subscription. Without Cluster there is one, to the server, or to the master that the Sentinels name. In a Cluster there
// is one to each master: what goes from one master to another on its way here is lost unnoticed when those two do not see each other.
type feed struct {
	client   redis.UniversalClient
	channels []string
	slots    *slotSet // those it is the master of; nil: no Cluster
	probe    string
}

type slotSet [slotCount / 64]uint64

func (s *slotSet) add(first, last int) {
	for i := max(first, 0); i <= min(last, slotCount-1); i++ {
		s[i/64] |= 1 << (i % 64)
	}
}

func (s *slotSet) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

// channels has one name a group.
func channels(prefix string, groups int) []string {
	if groups == 1 {
		return []string{prefix + "events"}
	}
	l := make([]string, groups)
	for i := range l {
		l[i] = prefix + "events:" + strconv.Itoa(i)
	}
	return l
}

func newProbe() string {
	return string(binary.BigEndian.AppendUint64([]byte{probeVersion}, rand.Uint64()))
}

var errSlots = errors.New("the masters do not agree on who has which slots")

// feeds are those that have to be heard. Each slot must have exactly one.
func (s *Store) feeds(ctx context.Context) ([]*feed, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	c, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []*feed{{client: s.client, channels: s.channels, probe: newProbe()}}, nil
	}
	var mu sync.Mutex
	var l []*feed
	err := c.ForEachMaster(ctx, func(ctx context.Context, n *redis.Client) error {
		f := &feed{client: n, probe: newProbe()}
		var err error
		if f.slots, err = ownSlots(ctx, n); err != nil {
			return err
		}
		for g, name := range s.channels {
			const size = slotCount / slotGroups / 64
			if slices.ContainsFunc(f.slots[g*size:(g+1)*size], func(w uint64) bool { return w != 0 }) {
				f.channels = append(f.channels, name)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(f.channels) > 0 {
			l = append(l, f)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, complete(l)
}

func complete(l []*feed) error {
	for i := range len(slotSet{}) {
		var all uint64
		for _, f := range l {
			if all&f.slots[i] != 0 {
				return errSlots
			}
			all |= f.slots[i]
		}
		if all != ^uint64(0) {
			return errSlots
		}
	}
	return nil
}

// ownSlots asks a node for the slots that it thinks to be master of.
func ownSlots(ctx context.Context, n redis.UniversalClient) (*slotSet, error) {
	id, err := n.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return nil, err
	}
	ranges, err := n.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, err
	}
	var set slotSet
	for _, r := range ranges {
		if len(r.Nodes) > 0 && r.Nodes[0].ID == id {
			set.add(r.Start, r.End)
		}
	}
	return &set, nil
}

// listen hears the changes of all nodes until Close.
func (s *Store) listen() {
	for s.ctx.Err() == nil {
		if heard, err := s.hearAll(); heard && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("redisstore: changes of other nodes are not heard", "error", err)
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(s.cfg.Pause):
		}
	}
}

// hearAll goes on until one of the feeds fails; the cache is true from when all are there until then.
func (s *Store) hearAll() (heard bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	feeds, err := s.feeds(ctx)
	if err != nil {
		return false, err
	}
	begun, failed := make(chan struct{}, len(feeds)), make(chan error, len(feeds))
	for _, f := range feeds {
		wg.Go(func() { failed <- s.follow(ctx, f, begun) })
	}
	for range feeds {
		select {
		case <-begun:
		case err := <-failed:
			return false, err
		}
	}
	s.cache.heard()
	defer s.cache.deaf()
	return true, <-failed
}

// A follower receives one feed.
type follower struct {
	*feed
	store   *Store
	missing int       // channels that are not yet subscribed to
	waiting bool      // for the probe, or at first for the subscription
	beat    time.Time // when what is waited for must have come
}

// follow receives f until it fails. It sends begun when it is in place.
func (s *Store) follow(ctx context.Context, f *feed, begun chan<- struct{}) error {
	sub := f.client.Subscribe(ctx, f.channels...)
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	defer func() { _ = sub.Close() }()
	l := follower{feed: f, store: s, missing: len(f.channels), waiting: true, beat: time.Now().Add(s.cfg.heartbeat)}
	for {
		m, err := sub.ReceiveTimeout(ctx, max(time.Until(l.beat), time.Millisecond))
		if err != nil && (!silence(err) || ctx.Err() != nil) {
			return fmt.Errorf("subscription: %w", err)
		}
		if l.take(m) {
			if err := s.confirm(ctx, f); err != nil {
				return err
			}
			begun <- struct{}{}
		}
		if err := l.test(ctx); err != nil {
			return err
		}
	}
}

func silence(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// take reports whether m was what completes the subscription.
func (l *follower) take(m any) bool {
	switch m := m.(type) {
	case *redis.Subscription:
		if m.Kind != "subscribe" {
			return false
		}
		l.missing--
		l.waiting = l.waiting && l.missing > 0
		return l.missing == 0
	case *redis.Message:
		if m.Payload != l.probe {
			l.store.hear(l.feed, m.Payload)
			return false
		}
		l.waiting = false
	}
	return false
}

// test does at each heartbeat what is to be done.
func (l *follower) test(ctx context.Context) error {
	if time.Now().Before(l.beat) {
		return nil
	}
	if l.waiting {
		return errSilent
	}
	l.waiting = true
	if err := l.store.confirm(ctx, l.feed); err != nil {
		return err
	}
	if err := l.store.publishProbe(ctx, l.feed); err != nil {
		return err
	}
	l.beat = time.Now().Add(l.store.cfg.heartbeat)
	return nil
}

func (s *Store) publishProbe(ctx context.Context, f *feed) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return f.client.Publish(ctx, f.channels[0], f.probe).Err()
}

var (
	errSilent = errors.New("subscription: nothing comes")
	errMoved  = errors.New("slots have moved")
)

// confirm checks that f has the slots that it had when it was chosen.
func (s *Store) confirm(ctx context.Context, f *feed) error {
	if f.slots == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	now, err := ownSlots(ctx, f.client)
	if err == nil && *now != *f.slots {
		err = errMoved
	}
	return err
}

// hear takes a change. In a Cluster, the masters pass changes on to each other, without regard to order: only that of a slot's own master is taken.
func (s *Store) hear(f *feed, payload string) {
	c, ok := parseChange(payload)
	if !ok || f.slots != nil && !f.slots.has(slot(s.key(c.aor))) {
		return
	}
	s.cache.changed(c.aor, c.value, c.origin == s.origin)
	s.stats.dropped.Add(s.hub.publish(c))
}
