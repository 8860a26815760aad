package auth

import "sync/atomic"

// Stats count what became of requests, and a present value.
type Stats struct {
	Accepted    uint64 // with valid credentials
	Exempt      uint64 // from Trusted networks or let through by Exempt
	Challenged  uint64 // without credentials for the realm
	UnknownUser uint64 // the user does not exist, or cannot be checked by the algorithm used
	Mismatch    uint64 // a wrong password, or a request that was changed on the way
	Foreign     uint64 // a nonce not of ours: other keys
	Expired     uint64 // the right password with a nonce that is too old
	Replayed    uint64 // a count that was used before
	NotOffered  uint64 // an algorithm or qop that the challenge did not offer
	Malformed   uint64 // credentials that cannot be read, or for another Request-URI: 400
	Guessing    uint64 // refused after too many failures: 403
	Unavailable uint64 // the Source failed: 503
	NotOwn      uint64 // Own: an address that is not the user's
	Nonces      int    // whose counts are remembered
}

type counters struct {
	accepted, exempt, challenged, unknownUser, mismatch, foreign, expired atomic.Uint64
	replayed, notOffered, malformed, guessing, unavailable, notOwn        atomic.Uint64
}

// Stats returns the counters.
func (d *Digest) Stats() Stats {
	c := &d.count
	return Stats{
		Accepted: c.accepted.Load(), Exempt: c.exempt.Load(), Challenged: c.challenged.Load(), UnknownUser: c.unknownUser.Load(),
		Mismatch: c.mismatch.Load(), Foreign: c.foreign.Load(), Expired: c.expired.Load(), Replayed: c.replayed.Load(),
		NotOffered: c.notOffered.Load(), Malformed: c.malformed.Load(), Guessing: c.guessing.Load(), Unavailable: c.unavailable.Load(),
		NotOwn: c.notOwn.Load(), Nonces: d.replays.entries(),
	}
}
