package sipproxy

import (
	"sync/atomic"

	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// Stats are counters since the server started, and a few present values.
type Stats struct {
	Requests         uint64 // stateful requests given to the handler
	Stateless        uint64 // requests, and ACKs, handled without state
	InProgress       int    // requests whose handler has not returned
	Canceled         uint64 // INVITEs cancelled by the caller
	Invalid          uint64 // messages that validation refused
	Discarded        uint64 // requests that Accept discarded
	OverLimit        uint64 // requests refused with 503 by Limits
	OverBranches     uint64 // targets not tried because of Limits.Branches or Max-Breadth
	Drained          uint64 // requests refused with 503 while draining
	Silenced         uint64 // requests deliberately left without a final response
	Panics           uint64 // panics of handlers and hooks
	BadReturns       uint64 // handlers that returned no final response
	Acks             uint64 // ACKs of final responses that were given without state
	Unsent           uint64 // responses that could not be delivered or were never acknowledged
	StrayResponses   uint64 // responses that belong to nothing here
	StatelessRefused uint64 // requests that could not be forwarded without state
	Stalls           uint64 // handlers that held up a reader

	Transactions transaction.Stats
	Transport    transport.Stats
}

type counters struct {
	requests, stateless, canceled, invalid, discarded, overLimit, overBranches, drained, silenced atomic.Uint64
	panics, badReturns, acks, unsent, strayResponses, statelessRefused                            atomic.Uint64
}

// Stats returns the counters; zero before Ready.
func (s *Server) Stats() Stats {
	s.setup()
	select {
	case <-s.ready:
	default:
		return Stats{}
	}
	s.listMu.Lock()
	active := s.active
	s.listMu.Unlock()
	c := &s.count
	return Stats{
		Requests: c.requests.Load(), Stateless: c.stateless.Load(), InProgress: active, Canceled: c.canceled.Load(),
		Invalid: c.invalid.Load(), Discarded: c.discarded.Load(), OverLimit: c.overLimit.Load(), OverBranches: c.overBranches.Load(), Drained: c.drained.Load(),
		Silenced: c.silenced.Load(), Panics: c.panics.Load(), BadReturns: c.badReturns.Load(), Acks: c.acks.Load(), Unsent: c.unsent.Load(),
		StrayResponses: c.strayResponses.Load(), StatelessRefused: c.statelessRefused.Load(), Stalls: s.stalls.count.Load(),
		Transactions: s.txs.Stats(), Transport: s.trs.Stats(),
	}
}
