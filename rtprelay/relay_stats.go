package rtprelay

import "sync/atomic"

// RelayStats count what a Relay has done since it was made.
type RelayStats struct {
	Legs      int    // held now
	Offers    uint64 // rewritten
	Answers   uint64 // rewritten
	Deletes   uint64
	Nothing   uint64 // descriptions without a stream to relay
	Marked    uint64 // passed unchanged: another relay is engaged
	Bad       uint64 // passed unchanged: not understood
	Orphans   uint64 // passed unchanged: an answer without its offer
	Failed    uint64 // the engine failed
	Passed    uint64 // of them passed unchanged
	Refused   uint64 // of them requests refused
	Limited   uint64 // refused because of Max
	TimedOut  uint64 // calls whose media stopped
	RingOut   uint64 // sessions that timed out before their call was answered: give the engine more time
	HeldOut   uint64 // sessions that timed out while their call was on hold, which went on
	StreamOut uint64 // streams that timed out while others of their call went on
	Expired   uint64 // legs forgotten because of MaxAge
	Adopted   uint64 // legs taken over from before a restart, or from another node
	Rolled    uint64 // refused offers that were taken back at the engine
	Unrolled  uint64 // refused offers that could not be: media may go astray until the next one
	Undeleted uint64 // sessions whose deletion failed: they end by the engine's time-out
	Unplayed  uint64 // music or recording that failed
}

type relayCounters struct {
	offers, answers, deletes, nothing, marked, bad, orphans, failed, passed, refused, limited, timedOut, ringingOut, heldOut, streamOut, expired, adopted, rolledBack, unrolled, undeleted, unplayed atomic.Uint64
}

// Stats gives the counters.
func (rl *Relay) Stats() RelayStats {
	rl.mu.Lock()
	held := rl.held
	rl.mu.Unlock()
	c := &rl.count
	return RelayStats{
		Legs: held, Offers: c.offers.Load(), Answers: c.answers.Load(), Deletes: c.deletes.Load(), Nothing: c.nothing.Load(),
		Marked: c.marked.Load(), Bad: c.bad.Load(), Orphans: c.orphans.Load(), Failed: c.failed.Load(), Passed: c.passed.Load(),
		Refused: c.refused.Load(), Limited: c.limited.Load(), TimedOut: c.timedOut.Load(), RingOut: c.ringingOut.Load(), HeldOut: c.heldOut.Load(), StreamOut: c.streamOut.Load(), Expired: c.expired.Load(),
		Adopted: c.adopted.Load(), Rolled: c.rolledBack.Load(), Unrolled: c.unrolled.Load(), Undeleted: c.undeleted.Load(), Unplayed: c.unplayed.Load(),
	}
}
