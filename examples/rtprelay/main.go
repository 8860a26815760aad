// Command rtprelay is a media relay for SIP proxies on this or other machines, driven over the RTPProxy control protocol. It takes the
// place of rtpproxy for Kamailio's rtpproxy module and for this library's RTPProxy client:
//
//	rtprelay -listen udp:127.0.0.1:22222 -interface lan=10.0.0.1 -interface wan=192.0.2.1 -ports 20000-29999
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/rtprelay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr, nil); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "rtprelay:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. ready, if not nil, is told where to command.
func run(ctx context.Context, args []string, out io.Writer, ready func(*rtprelay.Control)) error {
	relay, control, err := configure(args, out)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	if err := control.Start(); err != nil {
		return err
	}
	log.Info("ready", "control", control.Addrs())
	if ready != nil {
		ready(control)
	}
	drain := make(chan os.Signal, 1)
	signal.Notify(drain, syscall.SIGHUP) // as rtpproxy: no new sessions, end with the last one
	defer signal.Stop(drain)
	wait(ctx, drain, relay, control)
	c := relay.Counters()
	log.Info("end", "sessions", c.Created, "timedout", c.TimedOut, "packets", c.Packets, "relayed", c.Relayed, "strangers", c.Strangers)
	return errors.Join(control.Close(), relay.Close())
}

func wait(ctx context.Context, drain <-chan os.Signal, relay *rtprelay.Embedded, control *rtprelay.Control) {
	select {
	case <-ctx.Done():
		return
	case <-drain:
		control.Drain()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for relay.Counters().Sessions > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// configure turns the flags into a relay and its control.
func configure(args []string, out io.Writer) (*rtprelay.Embedded, *rtprelay.Control, error) {
	relay := &rtprelay.Embedded{}
	control := &rtprelay.Control{Engine: relay}
	low, high := 0, 0
	f := flag.NewFlagSet("rtprelay", flag.ContinueOnError)
	f.SetOutput(out)
	f.Func("listen", "control socket, repeatable: udp:ADDR:PORT, tcp:ADDR:PORT, unix:PATH, cunix:PATH (default udp:127.0.0.1:22222)", func(s string) error {
		control.Listen = append(control.Listen, s)
		return nil
	})
	f.Func("from", "network that may command over UDP and TCP, repeatable (default: loopback)", func(s string) error {
		p, err := netip.ParsePrefix(s)
		control.From = append(control.From, p)
		return err
	})
	f.Func("interface", "name=addr[/advertised], repeatable; two are a bridge, the first internal, the second external (default: the default route)", func(s string) error {
		i, err := parseInterface(s)
		relay.Interfaces = append(relay.Interfaces, i)
		return err
	})
	f.Func("ports", "lo-hi, of every interface (default 10000-29999)", func(s string) (err error) {
		low, high, err = parsePorts(s)
		return err
	})
	f.Func("notify", "socket that time-outs may be told to, repeatable: unix:PATH or tcp:HOST:PORT", func(s string) error {
		control.Notify = append(control.Notify, s)
		return nil
	})
	f.Func("network", "private network that media may be sent to from outside, repeatable", func(s string) error {
		p, err := netip.ParsePrefix(s)
		relay.Networks = append(relay.Networks, p)
		return err
	})
	f.DurationVar(&relay.Timeout, "timeout", time.Minute, "silence that ends a session")
	f.DurationVar(&relay.OneSided, "one-sided", 0, "silence of one party that ends a session, as rtpproxy's -i; hold by anything but c=0.0.0.0 is not known here (default: never)")
	f.DurationVar(&relay.HalfOpen, "setup-timeout", 4*time.Minute, "time for an answer")
	f.StringVar(&relay.RecordDir, "record", ".", "directory for recordings")
	f.IntVar(&relay.MaxSessions, "max-sessions", 0, "streams held (default: by the limit of open files)")
	f.IntVar(&relay.MaxRate, "max-rate", 0, "packets a second taken from one party on one port, -1 for any number (default 5000)")
	f.IntVar(&relay.Loops, "loops", 1, "event loops")
	f.BoolVar(&control.Strict, "strict", false, "learn parties only from the host that the command named")
	if err := f.Parse(args); err != nil {
		return nil, nil, err
	}
	if f.NArg() > 0 {
		return nil, nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if low > 0 && len(relay.Interfaces) == 0 {
		return nil, nil, errors.New("-ports needs -interface")
	}
	for i := range relay.Interfaces {
		relay.Interfaces[i].Low, relay.Interfaces[i].High = uint16(low), uint16(high)
	}
	return relay, control, relay.Check()
}

func parseInterface(s string) (i rtprelay.Interface, err error) {
	name, addr, ok := strings.Cut(s, "=")
	if !ok {
		return i, errors.New("want name=addr or name=addr/advertised")
	}
	addr, advertised, ok := strings.Cut(addr, "/")
	i.Name = name
	if i.Addr, err = netip.ParseAddr(addr); err == nil && ok {
		i.Advertise, err = netip.ParseAddr(advertised)
	}
	return i, err
}

func parsePorts(s string) (low, high int, err error) {
	a, b, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(a, 10, 16)
	h, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || l == 0 {
		return 0, 0, errors.New("want lo-hi")
	}
	return int(l), int(h), nil
}
