// Command registrar is a SIP server for an office or a small provider: phones register, call each other, the telephone network and foreign
// domains, and are found again after a restart. It does what Kamailio's default configuration does; routes.go reads like it.
//
//	registrar -listen udp:192.0.2.10:5060 -listen tcp:192.0.2.10:5060 -domain example.com -users users.htdigest -gateway 192.0.2.20:5060
//
// SIGHUP reads users, numbers and certificates again. SIGTERM and SIGINT drain: requests in progress finish, new calls get 503.
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
	fmt.Fprintln(os.Stderr, "registrar:", err)
	os.Exit(1)
}

func run(args []string, out io.Writer) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err := errors.Join(err, c.validate()); err != nil {
		return err
	}
	if c.checkOnly {
		fmt.Fprintln(out, "no mistake found")
		return nil
	}
	log := lines.New(out)
	defer func() { _ = log.Close() }()
	p, err := c.build(log)
	if err != nil {
		return err
	}
	if err := p.hearTimeouts(); err != nil {
		return errors.Join(err, p.Close())
	}
	stop, err := profile(c.profile)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	defer stop()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	go p.serving(ctx, log)
	go p.reloadOnHangup(ctx)
	life, end := context.WithCancel(context.Background()) // and not ctx: draining takes its time
	defer end()
	go p.watchdog(life)
	return errors.Join(p.server.Run(ctx), p.Close())
}

// serving names the sockets once they are open (port 0 was chosen by the system), tells the service manager, and keeps phones reachable until ctx ends.
func (p *proxy) serving(ctx context.Context, out io.Writer) {
	select {
	case <-p.server.Ready():
	case <-ctx.Done():
		return
	}
	for _, a := range p.server.Addrs() {
		fmt.Fprintln(out, "listening on", a)
	}
	p.tell("READY=1")
	if err := p.pinger.Run(ctx, p.server); ctx.Err() == nil {
		p.log.Error("no keepalives any more", "error", err)
	}
	<-ctx.Done()
	p.tell("STOPPING=1")
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
			fmt.Fprintln(os.Stderr, "registrar:", err)
		}
	}, nil
}
