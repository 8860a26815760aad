// Command proxybench measures the CPU time a proxy needs for a call, with SIPp as caller and callee, on loopback. Proxies are measured in turns and
// compared with the first one of the same round: on a shared machine only ratios of one run mean something.
//
//	go run ./bench/proxybench -rate 500 -seconds 5 -rounds 5
//	go run ./bench/proxybench -scenario cancel
//	go run ./bench/proxybench -proxies kamailio,coroutine -cpuprofile cpu.prof
//
// A figure with failed calls or retransmissions says nothing: lower the rate. It needs sipp and kamailio.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/internal/sipp"
)

type bench struct {
	rate, seconds, rounds int
	scenario, profile     string
	dir, balancer, config string
}

// scenarios are caller and callee of a call.
var scenarios = map[string][2]string{
	"call": {"uac", "uas"}, "cancel": {"uac_cancel", "uas_cancel"}, "options": {"uac_request", "uas_request"},
}

func main() {
	var b bench
	proxies := flag.String("proxies", "kamailio,kamailio-stateless,coroutine,goroutine,stateless", "what to measure; the first is the yardstick")
	flag.IntVar(&b.rate, "rate", 500, "calls a second")
	flag.IntVar(&b.seconds, "seconds", 5, "of each measurement")
	flag.IntVar(&b.rounds, "rounds", 3, "how often to go through all proxies")
	flag.StringVar(&b.scenario, "scenario", "call", "call, cancel or options")
	flag.StringVar(&b.profile, "cpuprofile", "", "of the last proxy of ours")
	flag.Parse()
	if err := b.run(strings.Split(*proxies, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "proxybench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(proxies []string) error {
	if _, ok := scenarios[b.scenario]; !ok {
		return fmt.Errorf("no scenario %q", b.scenario)
	}
	for _, p := range proxies {
		if b.command(p, "", "") == nil {
			return fmt.Errorf("no proxy %q", p)
		}
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b.dir, b.balancer = dir, filepath.Join(dir, "loadbalancer")
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return err
	}
	b.config = filepath.Join(strings.TrimSpace(string(root)), "interop", "testdata", "kamailio.cfg")
	if out, err := exec.Command("go", "build", "-o", b.balancer, "github.com/sipkit/sipkit/examples/loadbalancer").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return b.measure(proxies)
}

func (b *bench) measure(proxies []string) error {
	micros := make(map[string][]float64)
	ratios := make(map[string][]float64)
	var errs []error
	for round := range b.rounds {
		for _, p := range proxies {
			us, retrans, err := b.cell(p)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p, err))
				fmt.Printf("round %d  %-20s failed\n", round+1, p)
				continue
			}
			fmt.Printf("round %d  %-20s %7.1f us/call  %d retransmissions\n", round+1, p, us, retrans)
			micros[p] = append(micros[p], us)
			if first := micros[proxies[0]]; len(first) > round {
				ratios[p] = append(ratios[p], us/first[round])
			}
		}
	}
	fmt.Printf("\n%s at %d/s\n%-20s %12s %8s\n", b.scenario, b.rate, "", "us per call", "ratio")
	for _, p := range proxies {
		fmt.Printf("%-20s %12.1f %8.2f\n", p, median(micros[p]), median(ratios[p]))
	}
	return errors.Join(errs...)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// command starts a proxy that listens on one address and sends calls to another.
func (b *bench) command(name, listen, next string) *exec.Cmd {
	kamailio := []string{
		"-f", b.config, "-DD", "-E", "-m", "1024", "-M", "16", "-Y", b.dir, "-b", "4194304", "-x", "fm", "-X", "fm",
		"-A", "CHILDREN=1", "-A", "UDP_ONLY", "-A", `NEXT="sip:` + next + `"`, "-l", "udp:" + listen,
	}
	ours := []string{"-methods", "any", "-listen", "udp:" + listen, "-gateways", next, "-cpuprofile", b.profile}
	switch name {
	case "kamailio":
		return exec.Command("kamailio", kamailio...)
	case "kamailio-stateless":
		return exec.Command("kamailio", append(kamailio, "-A", "STATELESS")...)
	case "coroutine", "goroutine":
		return exec.Command(b.balancer, append(ours, "-mode", "stateful", "-runner", name)...)
	case "stateless":
		return exec.Command(b.balancer, append(ours, "-mode", "stateless")...)
	}
	return nil
}

// cell measures one proxy, fresh, after a warm-up.
func (b *bench) cell(name string) (micros float64, retrans int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second+2*time.Minute)
	defer cancel()
	var at [3]string // caller, proxy, callee
	for i := range at {
		if at[i], err = sipp.Port("127.0.0.1"); err != nil {
			return 0, 0, err
		}
	}
	calls := b.rate * b.seconds
	callee := b.run1(scenarios[b.scenario][1], at[2], "", 2*calls+b.rate)
	uas, err := sipp.Start(ctx, callee)
	if err != nil {
		return 0, 0, err
	}
	defer uas.Kill()
	proxy := b.command(name, at[1], at[2])
	proxy.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := proxy.Start(); err != nil {
		return 0, 0, err
	}
	defer stop(proxy)
	if err := errors.Join(sipp.Listening(ctx, at[2], false), sipp.Listening(ctx, at[1], false)); err != nil {
		return 0, 0, err
	}
	if err := sipp.Call(ctx, b.run1(scenarios[b.scenario][0], at[0], at[1], b.rate)); err != nil {
		return 0, 0, fmt.Errorf("warming up: %w", err)
	}
	before := cpu(proxy.Process.Pid)
	r := b.run1(scenarios[b.scenario][0], at[0], at[1], calls)
	stats := filepath.Join(b.dir, "stats.csv")
	r.Args = append(r.Args, "-trace_stat", "-stf", stats, "-fd", "1")
	if err := sipp.Call(ctx, r); err != nil {
		return 0, 0, err
	}
	time.Sleep(500 * time.Millisecond) // what is left to do for these calls
	spent := cpu(proxy.Process.Pid) - before
	retrans, err = retransmissions(stats)
	return float64(spent.Microseconds()) / float64(calls), retrans, err
}

func (b *bench) run1(scenario, local, remote string, calls int) sipp.Run {
	return sipp.Run{
		Scenario: scenario, Dir: b.dir, Local: local, Remote: remote, Calls: calls, Rate: b.rate,
		Pause: time.Millisecond, Limit: time.Duration(b.seconds)*time.Second + time.Minute,
		Replace: map[string]string{"@METHOD@": "OPTIONS", "@CODE@": "200"},
	}
}

func stop(c *exec.Cmd) {
	_ = c.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	_ = c.Wait() // how it ends is of no interest
}

// cpu is the time that all threads of a process group have run so far.
func cpu(group int) (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // gone
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest) // state, parent, group
		if len(f) < 3 || f[2] != strconv.Itoa(group) {
			continue
		}
		threads, _ := filepath.Glob(filepath.Dir(file) + "/task/*/schedstat")
		for _, t := range threads {
			b, _ := os.ReadFile(t)
			ns, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseInt(ns, 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// retransmissions reads the last line of SIPp's statistics.
func retransmissions(file string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(file) }()
	r := csv.NewReader(f)
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		return 0, fmt.Errorf("statistics of sipp: %d lines, %w", len(rows), err)
	}
	i := slices.Index(rows[0], "Retransmissions(C)")
	if i < 0 {
		return 0, errors.New("statistics of sipp: no retransmissions")
	}
	return strconv.Atoi(rows[len(rows)-1][i])
}
