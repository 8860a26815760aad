package sipproxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A Server receives SIP messages and runs a Handler for each request. The zero value with a Handler
// listens on UDP and TCP port 5060 of every address. Fields must not change after Run.
type Server struct {
	// Listen names the sockets: "udp:0.0.0.0:5060", "tls:[::]:5061", or with the address to tell others
	// "udp:10.0.0.5:5060=203.0.113.5:5060". Empty: udp and tcp on port 5060.
	Listen  []string
	Handler Handler
	Names   []string // our domains and aliases, beside the listen addresses
	Keys    [][]byte // current and previous secret: flow tokens, signed Record-Route, nonces; empty: random, dies with the process

	// Accept decides before any state exists; nil: Stateful. It must not wait.
	Accept func(*Request) Mode

	Timers transaction.Timers
	TLS    *tls.Config
	Limits Limits
	Drain  time.Duration // bound on the wait for requests in progress when Run's context ends; 0: 32 s
	Runner RunnerMode
	Net    transport.Net          // nil: the real one
	Tap    func(transport.Packet) // every message in and out
	Logger *slog.Logger           // nil: slog.Default()

	state
}

// A Mode says how a request is treated.
type Mode uint8

const (
	Stateful  Mode = iota // a server transaction; responses through the engine
	Stateless             // no state: Forward takes one target and returns nil (§16.11)
	Discard               // dropped and counted
)

// A RunnerMode says how handlers run.
type RunnerMode uint8

const (
	RunnerDefault RunnerMode = iota // Coroutines
	Goroutines                      // each handler on a goroutine of its own
	Coroutines                      // handlers start on the reading goroutine and leave it when they wait
)

// Limits bounds what a server takes on. A zero field means the default written beside it.
type Limits struct {
	Message          sip.Limits    // sizes of messages
	Transactions     int           // server transactions at once, finished ones in their 32 s included; 1,000,000; beyond: 503 with Retry-After
	Requests         int           // requests in progress (handler running or waiting); 250,000; beyond: 503 with Retry-After
	Branches         int           // branches of one request over all its Forwards; 64; beyond: 500
	Connections      int           // open connections; 10,000
	ConnectionsPerIP int           // 1,000
	QueueBytes       int           // unsent bytes per connection; 256 KiB
	RetryAfter       time.Duration // in those 503; 5 s
}

func (s *Server) Run(ctx context.Context) error                              { panic("stub") }
func (s *Server) Shutdown(ctx context.Context) error                         { panic("stub") }
func (s *Server) Check() error                                               { panic("stub") }
func (s *Server) Ready() <-chan struct{}                                     { panic("stub") }
func (s *Server) Addrs() []transport.Addr                                    { panic("stub") }
func (s *Server) Stats() Stats                                               { panic("stub") }
func (s *Server) FlowTo(local, remote transport.Addr) (transport.Flow, bool) { panic("stub") }
func (s *Server) Request(ctx context.Context, req *sip.Request, to Target) *sip.Response {
	panic("stub")
}

// IsLocal reports whether u names this server: one of Names, a listen or advertised address.
func (s *Server) IsLocal(u sip.URI) bool { panic("stub") }

// Block runs f, which may wait for a database or another server, without holding up the
// reader that runs the handler. It returns when f has. ctx is the handler's or one derived from it.
// With any other ctx it just calls f.
func Block(ctx context.Context, f func()) { panic("stub") }

type Stats struct{}
type state struct{}
type branch struct{}
