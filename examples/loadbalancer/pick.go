package main

import (
	"hash/fnv"
	"sync/atomic"

	"github.com/sipkit/sipkit/sipproxy"
)

// A picker chooses among n gateways.
type picker func(r *sipproxy.Request) int

var picks = map[string]func(n int) picker{"hash": byCallID, "roundrobin": inTurn}

// byCallID depends on the Call-ID only, which the INVITE, its copies, its CANCEL and its ACK share: without state, they
// all have to meet the same gateway.
func byCallID(n int) picker {
	return func(r *sipproxy.Request) int {
		h := fnv.New32a()
		_, _ = h.Write([]byte(r.CallID())) // never fails
		return int(h.Sum32() % uint32(n))
	}
}

// inTurn starts with the first gateway. Without state it also moves on for copies, CANCEL and ACK.
func inTurn(n int) picker {
	var next atomic.Uint64
	return func(*sipproxy.Request) int { return int((next.Add(1) - 1) % uint64(n)) }
}

func (c config) picker() picker { return picks[c.pick](len(c.gateways)) }
