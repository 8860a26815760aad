// Command loadbalancer spreads calls over gateways. Its four modes are the files stateless.go, stateful.go, failover.go and redirect.go.
//
//	loadbalancer -mode failover -listen udp:192.0.2.10:5060 -gateways 192.0.2.1:5060,192.0.2.2:5060 -allow 198.51.100.0/24
//
// SIGTERM and SIGINT drain: requests in progress finish, new calls get 503.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/sipkit/sipkit/examples/internal/lines"
	"github.com/sipkit/sipkit/sipproxy"
)

func main() {
	// Memory for processor time: a proxy allocates much and keeps little, and to collect when the heap has grown fivefold, not
	// twofold, saves a tenth of the time under load. GOGC and GOMEMLIMIT say otherwise.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	err := run(os.Args[1:], os.Stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "loadbalancer:", err)
	os.Exit(1)
}

func run(args []string, out io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	stop, err := profile(c.cpuprofile)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := lines.New(out)
	defer func() { _ = log.Close() }()
	if c.batch {
		if err := batch(); err != nil {
			fmt.Fprintln(log, "-batch has no effect:", err)
		}
	}
	s := c.server(log)
	go announce(ctx, s, log)
	return s.Run(ctx)
}

// announce names the sockets once they are open; port 0 was chosen by the system.
func announce(ctx context.Context, s *sipproxy.Server, out io.Writer) {
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return
	}
	for _, a := range s.Addrs() {
		fmt.Fprintln(out, "listening on", a)
	}
}

func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "loadbalancer:", err)
		}
	}, nil
}
