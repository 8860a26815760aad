package rtprelay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Sets are numbered groups of engines. It implements Engine, Player and Recorder: Ref.Group chooses the group of an offer, and Result.Node names group
// and member ("2/name", or "name" in group 0), which later Refs bring back. Groups must not change once it is in use; methods are safe for concurrent use.
type Sets struct {
	Groups map[int]*Set
}

// Check reports every mistake in the configuration.
func (s *Sets) Check() error {
	var errs []error
	for n, g := range s.Groups {
		if g == nil {
			errs = append(errs, fmt.Errorf("rtprelay: group %d is nil", n))
			continue
		}
		if err := g.Check(); err != nil {
			errs = append(errs, fmt.Errorf("group %d: %w", n, err))
		}
		for i := range g.Members {
			if strings.Contains(g.Members[i].Name, "/") {
				errs = append(errs, fmt.Errorf("rtprelay: group %d: slash in the name %q", n, g.Members[i].Name))
			}
		}
	}
	return errors.Join(errs...)
}

// Close closes all groups.
func (s *Sets) Close() error {
	var errs []error
	for _, g := range s.Groups {
		if g != nil {
			errs = append(errs, g.Close())
		}
	}
	return errors.Join(errs...)
}

// group finds the set of a leg and takes its number out of r.Node.
func (s *Sets) group(r *Ref) (*Set, int, error) {
	n := r.Group
	if number, name, ok := strings.Cut(r.Node, "/"); ok {
		if k, err := strconv.Atoi(number); err == nil {
			n, r.Node = k, name
		}
	} else if r.Node != "" {
		n = 0
	}
	g := s.Groups[n]
	if g == nil {
		return nil, 0, &RefusedError{Code: "input", Reason: "no group " + strconv.Itoa(n)}
	}
	return g, n, nil
}

func named(res Result, n int, err error) (Result, error) {
	if err == nil && n != 0 && res.Node != "" {
		res.Node = strconv.Itoa(n) + "/" + res.Node
	}
	return res, err
}

// Offer asks the group.
func (s *Sets) Offer(ctx context.Context, p Params) (Result, error) {
	g, n, err := s.group(&p.Ref)
	if err != nil {
		return Result{}, err
	}
	res, err := g.Offer(ctx, p)
	return named(res, n, err)
}

// Answer asks the group.
func (s *Sets) Answer(ctx context.Context, p Params) (Result, error) {
	g, n, err := s.group(&p.Ref)
	if err != nil {
		return Result{}, err
	}
	res, err := g.Answer(ctx, p)
	return named(res, n, err)
}

// Delete asks the group.
func (s *Sets) Delete(ctx context.Context, r Ref) error {
	g, _, err := s.group(&r)
	if err != nil {
		return err
	}
	return g.Delete(ctx, r)
}

// Query asks the group.
func (s *Sets) Query(ctx context.Context, r Ref) (Stats, error) {
	g, _, err := s.group(&r)
	if err != nil {
		return Stats{}, err
	}
	return g.Query(ctx, r)
}

// Play asks the group.
func (s *Sets) Play(ctx context.Context, r Ref, toAnswerer bool, file string, times int) error {
	g, _, err := s.group(&r)
	if err != nil {
		return err
	}
	return g.Play(ctx, r, toAnswerer, file, times)
}

// Stop asks the group.
func (s *Sets) Stop(ctx context.Context, r Ref, toAnswerer bool) error {
	g, _, err := s.group(&r)
	if err != nil {
		return err
	}
	return g.Stop(ctx, r, toAnswerer)
}

// Record asks the group.
func (s *Sets) Record(ctx context.Context, r Ref) error {
	g, _, err := s.group(&r)
	if err != nil {
		return err
	}
	return g.Record(ctx, r)
}

// StopRecord asks the group.
func (s *Sets) StopRecord(ctx context.Context, r Ref) error {
	g, _, err := s.group(&r)
	if err != nil {
		return err
	}
	return g.StopRecord(ctx, r)
}
