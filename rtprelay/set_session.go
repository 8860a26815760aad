package rtprelay

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bound is the member that is known to have the leg, or nil.
func (s *Set) bound(r *Ref) *member {
	if r.Node != "" {
		if m := s.named(r.Node); m != nil {
			return m
		}
	}
	return s.bindings.get(r)
}

// candidates for an offer, best first: where the leg is, then those that are in, by their bids.
func (s *Set) candidates(r *Ref, bound *member) []*member {
	limit := s.Attempts
	if limit <= 0 {
		limit = 3
	}
	out := make([]*member, 0, limit)
	if bound != nil && !bound.down.Load() {
		out = append(out, bound)
	}
	for _, m := range s.ranked(r.CallID) {
		if len(out) == limit {
			break
		}
		if m != bound && !m.down.Load() && !m.disabled.Load() {
			out = append(out, m)
		}
	}
	return out
}

// Offer asks one member after the other until one serves the call. A leg that has its member already moves only when that does
// not answer at all: a busy one still has the session.
func (s *Set) Offer(ctx context.Context, p Params) (Result, error) {
	if err := s.setup(); err != nil {
		return Result{}, err
	}
	bound := s.bound(&p.Ref)
	list := s.candidates(&p.Ref, bound)
	if len(list) == 0 {
		return Result{}, errDown
	}
	if s.Hedge > 0 && len(list) > 1 && bound == nil {
		return s.hedged(ctx, &p, list)
	}
	var failure error
	for _, m := range list {
		res, err := m.offer(ctx, p)
		if err == nil {
			s.keep(&p.Ref, m, &res)
			return res, nil
		}
		failure = err
		if !errors.Is(err, ErrUnavailable) || ctx.Err() != nil || (m == bound && p.ToTag != "" && !noAnswer(err)) {
			break
		}
	}
	return Result{}, failure
}

func (m *member) offer(ctx context.Context, p Params) (res Result, err error) {
	err = m.do(ctx, func(e Engine) error {
		res, err = e.Offer(ctx, p)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	return res, nil
}

// keep remembers the member, unless there was nothing to relay.
func (s *Set) keep(r *Ref, m *member, res *Result) {
	res.Node = m.name
	if res.Streams > 0 {
		s.bindings.put(r, m)
	}
}

type attempt struct {
	m   *member
	res Result
	err error
}

// hedged starts the next member when one is silent for Hedge or fails, and takes the first that answers. Those that come too late
// delete what they made.
func (s *Set) hedged(ctx context.Context, p *Params, list []*member) (Result, error) {
	results := make(chan attempt, len(list))
	ctx, cancel := context.WithCancel(ctx)
	started, done := 0, 0
	start := func() {
		m := list[started]
		started++
		go func() {
			res, err := m.offer(ctx, *p)
			results <- attempt{m, res, err}
		}()
	}
	defer func() {
		cancel()
		if left := started - done; left > 0 {
			go s.tidy(results, left, p.Ref)
		}
	}()
	start()
	timer := time.NewTimer(s.Hedge)
	defer timer.Stop()
	var failure error
	for {
		select {
		case <-timer.C:
			if started < len(list) {
				start()
				timer.Reset(s.Hedge)
			}
		case a := <-results:
			done++
			if a.err == nil {
				s.keep(&p.Ref, a.m, &a.res)
				return a.res, nil
			}
			failure = a.err
			switch {
			case !errors.Is(a.err, ErrUnavailable) || ctx.Err() != nil:
				return Result{}, failure
			case started < len(list):
				start()
				timer.Reset(s.Hedge)
			case done == started:
				return Result{}, failure
			}
		}
	}
}

// tidy deletes what late attempts have made.
func (s *Set) tidy(results chan attempt, left int, r Ref) {
	for range left {
		a := <-results
		if a.err == nil && a.res.Streams > 0 {
			ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
			_ = a.m.engine.Delete(ctx, r)
			cancel()
		}
	}
}

// Answer goes where the offer went.
func (s *Set) Answer(ctx context.Context, p Params) (res Result, err error) {
	m, err := s.at(ctx, &p.Ref, func(e Engine) error {
		var err error
		res, err = e.Answer(ctx, p)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	s.keep(&p.Ref, m, &res)
	return res, nil
}

// at runs f where the leg is. When that is not known, the members are asked by their bids until one knows the session.
func (s *Set) at(ctx context.Context, r *Ref, f func(Engine) error) (*member, error) {
	if err := s.setup(); err != nil {
		return nil, err
	}
	if m := s.bound(r); m != nil {
		return m, m.do(ctx, f)
	}
	err := ErrNoSession
	for _, m := range s.ranked(r.CallID) {
		this := m.do(ctx, f)
		if this == nil {
			return m, nil
		}
		if !errors.Is(this, ErrNoSession) {
			err = this // more telling than that another one does not know the call
			if !errors.Is(this, ErrUnavailable) || ctx.Err() != nil {
				break
			}
		}
	}
	return nil, err
}

// Delete removes the leg where it is; when that is not known, at every member that is in, because "unknown" is no error to tell by.
func (s *Set) Delete(ctx context.Context, r Ref) error {
	if err := s.setup(); err != nil {
		return err
	}
	del := func(e Engine) error { return e.Delete(ctx, r) }
	if m := s.bound(&r); m != nil {
		s.bindings.drop(&r)
		return m.do(ctx, del)
	}
	var failure error
	for _, m := range s.members {
		if m.down.Load() {
			continue
		}
		if err := m.do(ctx, del); err != nil {
			failure = err
		}
	}
	return failure
}

// Query asks where the leg is.
func (s *Set) Query(ctx context.Context, r Ref) (stats Stats, err error) {
	_, err = s.at(ctx, &r, func(e Engine) error {
		var err error
		stats, err = e.Query(ctx, r)
		return err
	})
	return stats, err
}

// Play plays where the leg is.
func (s *Set) Play(ctx context.Context, r Ref, toAnswerer bool, file string, times int) error {
	return s.player(ctx, &r, func(p Player) error { return p.Play(ctx, r, toAnswerer, file, times) })
}

// Stop ends Play.
func (s *Set) Stop(ctx context.Context, r Ref, toAnswerer bool) error {
	return s.player(ctx, &r, func(p Player) error { return p.Stop(ctx, r, toAnswerer) })
}

func (s *Set) player(ctx context.Context, r *Ref, f func(Player) error) error {
	_, err := s.at(ctx, r, func(e Engine) error {
		if p, ok := e.(Player); ok {
			return f(p)
		}
		return fmt.Errorf("%w: play", ErrUnsupported)
	})
	return err
}

// Record records where the leg is.
func (s *Set) Record(ctx context.Context, r Ref) error {
	return s.recorder(ctx, &r, func(p Recorder) error { return p.Record(ctx, r) })
}

// StopRecord ends Record.
func (s *Set) StopRecord(ctx context.Context, r Ref) error {
	return s.recorder(ctx, &r, func(p Recorder) error { return p.StopRecord(ctx, r) })
}

func (s *Set) recorder(ctx context.Context, r *Ref, f func(Recorder) error) error {
	_, err := s.at(ctx, r, func(e Engine) error {
		if p, ok := e.(Recorder); ok {
			return f(p)
		}
		return fmt.Errorf("%w: record", ErrUnsupported)
	})
	return err
}
