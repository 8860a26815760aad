package dialog_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// patient is a siptest.T for phones in bad networks: what does not come in time ends the goroutine and fails nothing.
type patient struct{}

func (patient) Helper()               {}
func (patient) Logf(string, ...any)   {}
func (patient) Errorf(string, ...any) {}
func (patient) Fatalf(string, ...any) { runtime.Goexit() }

// A dialogModel is what the proxy must have seen, read off the wire in front of it: the dialogs that got a 2xx to INVITE, and the BYEs in them.
type dialogModel struct {
	mu       sync.Mutex
	proxy    string
	calls    map[string]bool // Call-ID;tag of INVITEs
	answered map[dialog.ID]bool
	byes     map[dialog.ID]bool
}

func (m *dialogModel) tap(p siptest.Packet) {
	if p.Lost != "" || p.To.Addr().String() != m.proxy {
		return
	}
	msg, err := sip.Parse(p.Data)
	if err != nil {
		return
	}
	h := msg.Head()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch x := msg.(type) {
	case *sip.Request:
		switch {
		case x.Method == sip.INVITE && h.ToTag() == "":
			m.calls[h.CallID()] = true
		case x.Method == sip.BYE:
			m.byes[dialog.ID{CallID: h.CallID(), CallerTag: h.FromTag(), CalleeTag: h.ToTag()}] = true
			m.byes[dialog.ID{CallID: h.CallID(), CallerTag: h.ToTag(), CalleeTag: h.FromTag()}] = true
		}
	case *sip.Response:
		if _, method, _ := h.CSeq(); method == sip.INVITE && x.IsSuccess() && h.FromTag() != "" {
			m.answered[dialog.ID{CallID: h.CallID(), CallerTag: h.FromTag(), CalleeTag: h.ToTag()}] = true
		}
	}
}

// TestRandomCalls lets phones call, ring, answer, refuse, cancel and hang up at random over links that lose, double, delay and reorder, and
// compares what the tracker told with the model: every dialog that was answered has one START and one STOP in this order, every other call one outcome,
// and nothing is left.
func TestRandomCalls(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			siptest.Suite{Protos: udpOnly, Seed: seed}.Run(t, func(t *testing.T, k *siptest.Kit) { randomCalls(t, k, seed) })
		})
	}
}

func randomCalls(t *testing.T, k *siptest.Kit, seed uint64) {
	var rndMu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 1))
	dice := func(n int) int { rndMu.Lock(); defer rndMu.Unlock(); return rnd.IntN(n) }
	nap := func(limit time.Duration) time.Duration { return time.Duration(dice(int(limit))) }

	tr, b := run(t, k, func(tr *dialog.Tracker) { tr.MaxAge = 30 * time.Minute; tr.Hangup = seed%2 == 0 }, bobIP, carolIP)
	m := &dialogModel{proxy: "192.0.2.101", calls: map[string]bool{}, answered: map[dialog.ID]bool{}, byes: map[dialog.ID]bool{}}
	k.Network.Tap(m.tap)
	if seed > 0 {
		k.Network.SetLink("", "", siptest.Link{
			Delay: time.Duration(seed%5) * 20 * time.Millisecond, Jitter: 30 * time.Millisecond,
			Loss: float64(seed%4) * 0.07, Duplicate: 0.1, Reorder: 0.1, Hold: 100 * time.Millisecond,
		})
	}
	alice := k.Phone("alice", aliceIP)
	bob, carol := k.Phone("bob", bobIP), k.Phone("carol", carolIP)
	for _, p := range []*siptest.Phone{alice, bob, carol} {
		p.T, p.Lenient, p.Wait = patient{}, true, time.Minute
	}
	for _, p := range []*siptest.Phone{bob, carol} {
		p.OnCall(func(c *siptest.Call) {
			if dice(4) > 0 {
				c.Ring()
			}
			switch d := nap(20 * time.Second); dice(6) {
			case 0:
				c.Pause(d)
				c.Refuse([]int{486, 404, 603, 480, 500}[dice(5)])
			case 1: // rings on
			case 2: // answers whatever has come
				time.Sleep(d)
				c.Answer()
			default:
				if c.Pause(d) {
					c.Answer()
					time.Sleep(nap(40 * time.Second))
					if dice(2) == 0 {
						c.Bye()
					}
				}
			}
		})
	}
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			time.Sleep(nap(time.Minute))
			call := alice.Invite(patient{}, "sip:bob@example.com")
			switch dice(6) {
			case 0, 1:
				time.Sleep(nap(10 * time.Second))
				call.Transaction().StartCancel()
			case 2:
				time.Sleep(nap(10 * time.Second))
				_ = tr.End(t.Context(), dialog.ID{CallID: call.ID(), CallerTag: call.Invitation().FromTag()}, "random")
			}
			if !call.Final().IsSuccess() {
				return
			}
			call.Ack()
			time.Sleep(nap(30 * time.Second))
			switch dice(4) {
			case 0:
				for _, d := range tr.ByCallID(call.ID()) {
					_ = tr.End(t.Context(), d.ID, "random")
				}
			case 1, 2:
				call.Bye()
			}
		})
	}
	wg.Wait()
	time.Sleep(2 * time.Hour)
	compare(t, m, b.events())
	empty(t, tr)
}

func compare(t *testing.T, m *dialogModel, events []dialog.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	starts, stops := map[dialog.ID]int{}, map[dialog.ID]int{}
	outcomes := map[string]int{}
	for _, e := range events {
		switch e.Kind {
		case dialog.Start:
			starts[e.ID]++
			require.True(t, m.answered[e.ID], "START without a 2xx: %s", e)
		case dialog.Stop:
			stops[e.ID]++
			require.Equal(t, 1, starts[e.ID], "STOP before START: %s", e)
			require.GreaterOrEqual(t, e.Duration, time.Duration(0))
			if e.By != dialog.Proxy {
				require.True(t, m.byes[e.ID], "STOP by a party that sent no BYE: %s", e)
			}
			if e.Reason == "max age" {
				require.Equal(t, 30*time.Minute, e.Duration.Round(time.Second))
			}
		default:
			outcomes[e.CallID]++
		}
	}
	for id := range m.answered {
		require.Equal(t, 1, starts[id], "START of %s", id)
		require.Equal(t, 1, stops[id], "STOP of %s", id)
	}
	for id := range m.calls {
		answered := 0
		for d := range starts {
			if d.CallID == id {
				answered++
			}
		}
		if answered == 0 {
			require.Equal(t, 1, outcomes[id], "outcome of %s", id)
		} else {
			require.LessOrEqual(t, outcomes[id], 1, "outcome of %s", id)
		}
	}
}
