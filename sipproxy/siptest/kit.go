package siptest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A Suite says in which modes Run runs a scenario. Its zero value runs it in all: UDP and TCP, handlers on goroutines and
// in coroutines.
type Suite struct {
	Protos  []transport.Proto
	Runners []sipproxy.RunnerMode
	Seed    uint64 // of the Network
}

// Run runs a scenario in every mode, each as a subtest in a synctest bubble of its own, so that time is virtual: waiting for
// minutes takes no time, and the same happens every time. See Kit for what f gets.
func Run(t *testing.T, f func(t *testing.T, k *Kit)) {
	t.Helper()
	Suite{}.Run(t, f)
}

// Run is Run with the modes of the suite.
func (s Suite) Run(t *testing.T, f func(t *testing.T, k *Kit)) {
	t.Helper()
	if len(s.Protos) == 0 {
		s.Protos = []transport.Proto{transport.UDP, transport.TCP}
	}
	if len(s.Runners) == 0 {
		s.Runners = []sipproxy.RunnerMode{sipproxy.Goroutines, sipproxy.Coroutines}
	}
	for _, p := range s.Protos {
		for _, r := range s.Runners {
			t.Run(modeName(p, r), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKit(t, p, r, s.Seed)
					defer k.finish()
					f(t, k)
				})
			})
		}
	}
}

func modeName(p transport.Proto, r sipproxy.RunnerMode) string {
	name := map[sipproxy.RunnerMode]string{sipproxy.Goroutines: "goroutines", sipproxy.Coroutines: "coroutines"}[r]
	if name == "" {
		name = "default"
	}
	return p.String() + "/" + name
}

// A Kit is what one run of a scenario works with: a network, servers, phones. When the scenario has returned, the kit waits
// until the servers have no transaction left, shuts them down, and fails the test for whatever is left over: transactions,
// requests in progress, goroutines. A failed test shows all that was sent, as a ladder.
type Kit struct {
	T       *testing.T
	Network *Network
	Ladder  *Ladder
	Proto   transport.Proto     // of this run: UDP or TCP
	Runner  sipproxy.RunnerMode // of this run

	// Settle bounds, in virtual time, the wait for transactions to end after the scenario; 10 min.
	Settle time.Duration
	// Messages lets the ladder of a failed test show whole messages.
	Messages bool

	phones  []*Phone
	servers []*running
	proxy   string
	hosts   int
}

type running struct {
	*sipproxy.Server
	cancel context.CancelFunc
	done   chan error
}

func newKit(t *testing.T, p transport.Proto, r sipproxy.RunnerMode, seed uint64) *Kit {
	k := &Kit{T: t, Network: &Network{Seed: seed, T: t}, Ladder: &Ladder{}, Proto: p, Runner: r, Settle: 10 * time.Minute}
	k.Ladder.Watch(k.Network)
	return k
}

// Sleep lets virtual time pass: time.Sleep.
func (k *Kit) Sleep(d time.Duration) { time.Sleep(d) }

// Server starts a proxy on a host of the network and waits until it listens. Fields that are not set are chosen: Listen is UDP and
// TCP port 5060 of the next address 192.0.2.101, 192.0.2.102 ..., Net the host of the address in Listen, Runner the mode of
// this run, Logger the log of the test. The first server becomes the proxy of the phones that have none.
func (k *Kit) Server(t *testing.T, s *sipproxy.Server) *sipproxy.Server {
	t.Helper()
	if len(s.Listen) == 0 {
		k.hosts++
		ip := fmt.Sprintf("192.0.2.%d", 100+k.hosts)
		s.Listen = []string{"udp:" + ip + ":5060", "tcp:" + ip + ":5060"}
	}
	if s.Net == nil {
		s.Net = k.hostOf(t, s.Listen)
	}
	if s.Runner == sipproxy.RunnerDefault {
		s.Runner = k.Runner
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, cancel, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-r.done:
		cancel()
		t.Fatalf("siptest: the server did not start: %v", err)
	}
	k.servers = append(k.servers, r)
	at := s.Addrs()[0].AddrPort
	if k.proxy == "" {
		k.proxy = at.String()
		for _, p := range k.phones {
			if p.Proxy == "" {
				p.Proxy = k.proxy
			}
		}
	}
	k.Ladder.Name(fmt.Sprintf("proxy%s", ordinal(len(k.servers))), at.Addr().String())
	return s
}

func ordinal(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprint(n)
}

// hostOf finds the host that owns all addresses of Listen.
func (k *Kit) hostOf(t *testing.T, listen []string) *Host {
	t.Helper()
	var ips []string
	for _, spec := range listen {
		a, _, err := transport.ParseListen(spec)
		if err != nil {
			t.Fatalf("siptest: %v", err)
		}
		if !a.AddrPort.Addr().IsUnspecified() {
			ips = append(ips, a.AddrPort.Addr().String())
		}
	}
	if len(ips) == 0 {
		t.Fatalf("siptest: Listen needs an address, or Net must be set")
	}
	return k.Network.Host(ips...)
}

// Phone starts a phone at an IP address, port 5060, over the transport of this run, with the first server, also one
// that starts later, as its proxy. Its fields may be changed before it is used.
func (k *Kit) Phone(name, ip string) *Phone {
	k.T.Helper()
	return k.PhoneAt(k.Network.Host(ip), name)
}

// PhoneAt is Phone on a host that was made before, behind a NAT box for instance.
func (k *Kit) PhoneAt(h *Host, name string) *Phone {
	k.T.Helper()
	p := &Phone{
		T: k.T, Net: h, Name: name, Proto: k.Proto, Proxy: k.proxy, AOR: "sip:" + name + "@example.com",
		Listen: netip.AddrPortFrom(h.Addr(), 5060).String(),
	}
	p.Start()
	k.phones = append(k.phones, p)
	seen := []string{h.Addr().String()}
	if b := h.realm.nat; b != nil {
		seen = append(seen, b.Public)
	}
	k.Ladder.Name(name, seen...)
	return p
}

// finish runs also when the scenario ended by FailNow.
func (k *Kit) finish() {
	if !k.T.Failed() {
		k.settle()
	}
	for _, s := range k.servers {
		s.cancel()
		if k.T.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			_ = s.Shutdown(ctx) // reported below
			cancel()
		}
		select {
		case err := <-s.done:
			if err != nil {
				k.T.Errorf("siptest: Server.Run returned %v", err)
			}
		case <-time.After(10 * time.Minute):
			k.T.Errorf("siptest: Server.Run did not return within 10 minutes of the end of its context")
		}
	}
	for _, p := range k.phones {
		p.Close()
	}
	synctest.Wait()
	if left := leaked(); left != "" {
		k.T.Errorf("siptest: goroutines were left behind:\n%s", left)
	}
	k.show()
	// What only sleeps may end in peace: a bubble that ends before its goroutines do is a panic, which ends all tests.
	for d := time.Second; d < 1000*time.Hour && leaked() != ""; d *= 2 {
		time.Sleep(d)
	}
}

// settle waits for the servers to become idle, in steps, so that a scenario that leaves nothing behind ends early.
func (k *Kit) settle() {
	end := now().Add(k.Settle)
	for _, s := range k.servers {
		for k.busy(s.Server) && now().Before(end) {
			time.Sleep(time.Second)
		}
		if what := busy(s.Server); what != "" {
			k.T.Errorf("siptest: after %v the server still has %s", k.Settle, what)
		}
	}
}

// busy reports whether something is on its way or in progress, once all that can be done now is done.
func (k *Kit) busy(s *sipproxy.Server) bool {
	synctest.Wait()
	return k.Network.travelling() || busy(s) != ""
}

// busy names what a server has in progress, "" for nothing.
func busy(s *sipproxy.Server) string {
	st := s.Stats()
	if st.InProgress == 0 && st.Transactions.Servers == 0 && st.Transactions.Clients == 0 {
		return ""
	}
	return fmt.Sprintf("%d requests in progress, %d server and %d client transactions",
		st.InProgress, st.Transactions.Servers, st.Transactions.Clients)
}

// show prints the ladder of a failed test.
func (k *Kit) show() {
	if !k.T.Failed() || k.Ladder.Len() == 0 {
		return
	}
	k.Ladder.Messages = k.Messages || testing.Verbose()
	if f, err := os.Stdout.Stat(); err == nil {
		k.Ladder.Color = f.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	}
	k.T.Logf("what was sent:\n%s", k.Ladder)
}
