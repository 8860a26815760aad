package transport

import "sync/atomic"

// Stats are counters since New, except ConnsOpen, which is a gauge.
type Stats struct {
	Received, Sent uint64 // messages

	Malformed  uint64 // datagrams that are no SIP message, and streams whose framing was lost
	TooLarge   uint64 // messages received beyond Limits.MessageBytes, or too large to send by UDP
	Trailing   uint64 // datagrams with bytes behind the body, which were dropped
	Keepalives uint64 // CRLFs and empty datagrams

	ConnsOpen       uint64
	ConnsRefused    uint64 // beyond Connections or ConnectionsPerIP
	ConnsEvicted    uint64 // closed, being the longest idle, to make room
	AcceptFailed    uint64 // attempts to accept a connection: no descriptor left, or the peer has given up
	DialFailed      uint64
	HandshakeFailed uint64
	LookupsRefused  uint64 // DNS questions not asked, because Config.Lookups were in progress all the time
	QueueFull       uint64 // sends refused because the peer reads too slowly
	SendFailed      uint64 // datagrams the system refused or dropped
	Unreachable     uint64 // ICMP errors
	Stalls          uint64 // handler calls that lost their reader to the watchdog
	KernelDrops     uint64 // datagrams dropped because a receive buffer was full (Linux)
}

type counters struct {
	received, sent, malformed, tooLarge, trailing, keepalives, connsRefused, connsEvicted, acceptFailed, dialFailed, lookupsRefused,
	handshakeFailed, queueFull, sendFailed, unreachable, stalls atomic.Uint64
	connsOpen atomic.Int64
}

// Stats reads the counters. It is safe for concurrent use.
func (l *Layer) Stats() Stats {
	c := &l.stats
	s := Stats{
		Received: c.received.Load(), Sent: c.sent.Load(),
		Malformed: c.malformed.Load(), TooLarge: c.tooLarge.Load(), Trailing: c.trailing.Load(), Keepalives: c.keepalives.Load(),
		ConnsOpen: uint64(max(c.connsOpen.Load(), 0)), ConnsRefused: c.connsRefused.Load(), ConnsEvicted: c.connsEvicted.Load(), AcceptFailed: c.acceptFailed.Load(),
		DialFailed: c.dialFailed.Load(), HandshakeFailed: c.handshakeFailed.Load(), LookupsRefused: c.lookupsRefused.Load(),
		QueueFull: c.queueFull.Load(), SendFailed: c.sendFailed.Load(), Unreachable: c.unreachable.Load(), Stalls: c.stalls.Load(),
	}
	for _, k := range l.sockets() {
		s.KernelDrops += k.io.drops()
	}
	return s
}
