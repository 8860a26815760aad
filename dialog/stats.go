package dialog

import "sync/atomic"

// Stats count what a Tracker has seen since it was made.
type Stats struct {
	Calls      uint64 // INVITEs outside dialogs
	Confirmed  uint64 // dialogs: START
	Ended      uint64 // of them: STOP
	Missed     uint64
	Refused    uint64
	Cancelled  uint64
	Failed     uint64
	Limited    uint64 // INVITEs refused because of Max
	Expired    uint64 // dialogs ended by MaxAge or session timer
	Dead       uint64 // dialogs ended because a probe found one party gone
	Crowded    uint64 // early dialogs not followed: too many in one call
	Unknown    uint64 // requests in dialogs not known here, BYE included
	UnknownBye uint64 // of them BYE

	Pending, Early, Live int // now: INVITEs in progress, dialogs in either state
}

type counters struct {
	calls, confirmed, ended, limited, expired, dead, crowded, unknown, unknownBye atomic.Uint64
	outcomes                                                                      [len(kindNames)]atomic.Uint64
	pending, early, live                                                          atomic.Int64
}

// Stats gives the counters.
func (t *Tracker) Stats() Stats {
	c := &t.count
	return Stats{
		Calls: c.calls.Load(), Confirmed: c.confirmed.Load(), Ended: c.ended.Load(),
		Missed: c.outcomes[Missed].Load(), Refused: c.outcomes[Refused].Load(), Cancelled: c.outcomes[Cancelled].Load(), Failed: c.outcomes[Failed].Load(),
		Limited: c.limited.Load(), Expired: c.expired.Load(), Dead: c.dead.Load(), Crowded: c.crowded.Load(),
		Unknown: c.unknown.Load(), UnknownBye: c.unknownBye.Load(),
		Pending: int(c.pending.Load()), Early: int(c.early.Load()), Live: int(c.live.Load()),
	}
}
