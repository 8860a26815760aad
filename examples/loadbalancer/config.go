package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/middleware"
)

type config struct {
	mode     string
	listen   []string
	gateways []string
	allow    []netip.Prefix // nil: all
	methods  []sip.Method   // nil: any
	pick     string
	trying   time.Duration
	drain    time.Duration
	trace    bool
	verbose  bool

	batch      bool
	runner     string
	readers    int
	cpuprofile string
}

// parse reads the command line and names every mistake at once.
func parse(args []string) (config, error) {
	var c config
	var gateways, allow, methods string
	f := flag.NewFlagSet("loadbalancer", flag.ContinueOnError)
	f.StringVar(&c.mode, "mode", "stateful", "stateless, stateful, failover or redirect")
	f.Func("listen", "`transport:address:port`, as in udp:127.0.0.1:5060; may be repeated (default udp:127.0.0.1:5060)", func(s string) error {
		c.listen = append(c.listen, s)
		return nil
	})
	f.StringVar(&gateways, "gateways", "", "where calls go: `host:port,...`")
	f.StringVar(&allow, "allow", "", "`networks` that may call; others get 403 (default all)")
	f.StringVar(&methods, "methods", "INVITE", "`methods` to route; others get 404; any lets all through")
	f.StringVar(&c.pick, "pick", "", "hash (of the Call-ID) or roundrobin (default hash when stateless, else roundrobin)")
	f.DurationVar(&c.trying, "trying", 2*time.Second, "how long a gateway may stay silent before failover tries the other")
	f.DurationVar(&c.drain, "drain", 0, "bound on the wait for requests in progress at SIGTERM (default 32s)")
	f.BoolVar(&c.trace, "trace", false, "print every message")
	f.BoolVar(&c.verbose, "v", false, "log a line a request")
	f.BoolVar(&c.batch, "batch", true, "wait, when a message arrives, until who runs on the processor pauses (SCHED_BATCH): more calls a second, for some more milliseconds at the worst")
	f.StringVar(&c.runner, "runner", "", "for development: coroutine or goroutine")
	f.IntVar(&c.readers, "readers", 0, "for development: sockets per UDP address")
	f.StringVar(&c.cpuprofile, "cpuprofile", "", "for development: write a CPU profile to this `file`")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if len(c.listen) == 0 {
		c.listen = []string{"udp:127.0.0.1:5060"}
	}
	c.gateways = list(gateways)
	if methods != "any" {
		for _, m := range list(methods) {
			c.methods = append(c.methods, sip.Method(m))
		}
	}
	var err error
	c.allow, err = middleware.ParsePrefixes(allow)
	return c, errors.Join(err, extra(f.Args()), c.check())
}

func extra(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func (c *config) check() error {
	var errs []error
	if modes[c.mode] == nil {
		errs = append(errs, fmt.Errorf("-mode %q is none of stateless, stateful, failover, redirect", c.mode))
	}
	if c.pick == "" {
		c.pick = "roundrobin"
		if c.mode == "stateless" {
			c.pick = "hash"
		}
	}
	if picks[c.pick] == nil {
		errs = append(errs, fmt.Errorf("-pick %q is neither hash nor roundrobin", c.pick))
	}
	if len(c.gateways) == 0 {
		errs = append(errs, errors.New("-gateways names nobody"))
	}
	for _, g := range c.gateways {
		if u, err := sip.ParseURI("sip:" + g); err != nil || u.HostPort() != g {
			errs = append(errs, fmt.Errorf("-gateways: %q is not host:port", g))
		}
	}
	if _, ok := runners[c.runner]; !ok {
		errs = append(errs, fmt.Errorf("-runner %q is neither coroutine nor goroutine", c.runner))
	}
	return errors.Join(errs...)
}

var modes = map[string]func(config) sipproxy.Handler{
	"stateless": stateless, "stateful": stateful, "failover": failover, "redirect": redirect,
}

var runners = map[string]sipproxy.RunnerMode{
	"": sipproxy.RunnerDefault, "goroutine": sipproxy.Goroutines, "coroutine": sipproxy.Coroutines,
}

// server builds the server that the command line describes.
func (c config) server(out io.Writer) *sipproxy.Server {
	s := &sipproxy.Server{
		Listen:  c.listen,
		Handler: modes[c.mode](c),
		Drain:   c.drain,
		Runner:  runners[c.runner],
		Readers: c.readers,
		Logger:  slog.New(slog.NewTextHandler(out, nil)),
	}
	if c.mode == "stateless" {
		s.Accept = func(*sipproxy.Request) sipproxy.Mode { return sipproxy.Stateless }
	}
	if c.verbose {
		s.Handler = middleware.Log{}.Middleware(s.Handler)
	}
	if c.trace {
		s.Tap = middleware.Trace(out)
	}
	return s
}

// guard is what a request that opens a call has to pass.
func (c config) guard() sipproxy.Chain {
	var chain sipproxy.Chain
	if c.methods != nil {
		chain = append(chain, middleware.Only(c.methods...))
	}
	if c.allow != nil {
		chain = append(chain, middleware.AllowFrom(c.allow...))
	}
	return chain
}
