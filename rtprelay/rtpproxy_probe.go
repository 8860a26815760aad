package rtprelay

import (
	"context"
	"errors"
	"sync"
)

// capability is a set of what the relay claims.
type capability uint32

const (
	capProbed      capability = 1 << iota
	capRepacketize            // 20071116
	capCopy                   // 20071218
	capQuery                  // 20080403
	capCodecs                 // 20081102
	capNotify                 // 20081224
	capCounters               // 20141004
	capNewPort                // 20150330
	capSub                    // 20191015
	capStopRecord             // 20200226
	capLost                   // 20230205
	capCopyPort               // 20250523
	capSet                    // 20251015
	capLabel                  // 20260306
)

func (c capability) has(x capability) bool { return c&x != 0 }

// capabilityDates are asked for one by one; the relay has no command that lists them.
var capabilityDates = [...]struct {
	date string
	bit  capability
}{
	{"20071116", capRepacketize}, {"20071218", capCopy}, {"20080403", capQuery}, {"20081102", capCodecs}, {"20081224", capNotify}, {"20141004", capCounters},
	{"20150330", capNewPort}, {"20191015", capSub}, {"20200226", capStopRecord}, {"20230205", capLost}, {"20250523", capCopyPort}, {"20251015", capSet}, {"20260306", capLabel},
}

// Probe asks for the protocol version and what the relay can do.
func (e *RTPProxy) Probe(ctx context.Context) error {
	ctx, cancel := e.budget(ctx)
	defer cancel()
	e.caps.Store(0)
	_, err := e.capabilities(ctx)
	return err
}

// capabilities are probed once a connection, by whoever comes first; the others wait for it.
func (e *RTPProxy) capabilities(ctx context.Context) (capability, error) {
	for {
		if c := capability(e.caps.Load()); c != 0 {
			return c, nil
		}
		e.mu.Lock()
		wait := e.probing
		if wait == nil {
			done := make(chan struct{})
			e.probing = done
			e.mu.Unlock()
			c, err := e.probe(ctx)
			e.mu.Lock()
			e.probing = nil
			e.mu.Unlock()
			close(done)
			return c, err
		}
		e.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, unavailable(ctx.Err())
		}
	}
}

func (e *RTPProxy) probe(ctx context.Context) (capability, error) {
	reply, err := e.command(ctx, "V")
	if err != nil {
		return 0, err
	}
	if reply != "20040107" {
		return 0, e.odd(reply, "another protocol")
	}
	if reply, err = e.command(ctx, "VF 20050322"); err != nil {
		return 0, err
	}
	if reply != "1" {
		return 0, e.odd(reply, "cannot do more than one stream a call")
	}
	c, err := e.optional(ctx)
	if err != nil {
		return 0, err
	}
	e.caps.Store(uint32(c))
	return c, nil
}

// optional asks for all the rest at the same time.
func (e *RTPProxy) optional(ctx context.Context) (capability, error) {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		all     = capProbed
		failure error
	)
	for _, k := range capabilityDates {
		wg.Go(func() {
			reply, err := e.command(ctx, "VF "+k.date)
			mu.Lock()
			defer mu.Unlock()
			if reply == "1" {
				all |= k.bit
			}
			if err != nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, errClosed)) { // an E reply means no
				failure = err
			}
		})
	}
	wg.Wait()
	return all, failure
}
