package interop

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/sipp"
)

const calls = 40 // of each run

// each runs a test over UDP and TCP, with handlers on goroutines and on coroutines.
func each(t *testing.T, f func(t *testing.T, tcp bool, runner string)) {
	t.Parallel()
	need(t, "sipp")
	for _, proto := range []string{"udp", "tcp"} {
		for _, runner := range []string{"goroutine", "coroutine"} {
			t.Run(proto+"/"+runner, func(t *testing.T) {
				t.Parallel()
				f(t, proto == "tcp", runner)
			})
		}
	}
}

// A farm is two gateways at which SIPp answers, and the balancer before them.
type farm struct {
	*testing.T
	tcp   bool
	gw    [2]string
	proxy proxy
}

func newFarm(t *testing.T, tcp bool, runner string, args ...string) *farm {
	f := &farm{T: t, tcp: tcp, gw: [2]string{freePort(t), freePort(t)}}
	f.proxy = balance(t, append(args, "-runner", runner, "-gateways", f.gw[0]+","+f.gw[1])...)
	return f
}

func (f *farm) caller(scenario string) sipp.Run {
	return sipp.Run{
		Scenario: scenario, Dir: f.TempDir(), Local: freePort(f.T), Remote: f.proxy.addr(f.tcp), TCP: f.tcp, Calls: calls, Rate: 40,
		Pause: 100 * time.Millisecond,
	}
}

func (f *farm) callee(gateway int, scenario string, n int) sipp.Run {
	return sipp.Run{
		Scenario: scenario, Dir: f.TempDir(), Local: f.gw[gateway], TCP: f.tcp, Calls: n, Pause: 50 * time.Millisecond,
	}
}

func (f *farm) run(caller sipp.Run, callees ...sipp.Run) {
	f.Helper()
	require.NoError(f, sipp.Call(f.Context(), caller, callees...))
	checkTrace(f.T, f.proxy)
}

func with(r sipp.Run, pairs ...string) sipp.Run {
	r.Replace = make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		r.Replace[pairs[i]] = pairs[i+1]
	}
	return r
}

func TestStatefulCalls(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateful")
		f.run(f.caller("uac"), f.callee(0, "uas", calls/2), f.callee(1, "uas", calls/2))
	})
}

func TestStatefulCancelled(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateful")
		f.run(f.caller("uac_cancel"), f.callee(0, "uas_cancel", calls/2), f.callee(1, "uas_cancel", calls/2))
	})
}

// A stateless balancer is not on the path of ACK and BYE, but SIPp sends them to it all the same, hence "any"; examples/callflow shows
// how real phones go past it.
func TestStatelessCalls(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateless", "-methods", "any")
		f.spread(f.caller("uac"), "uas")
	})
}

func TestStatelessCancelled(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateless")
		f.spread(f.caller("uac_cancel"), "uas_cancel")
	})
}

// spread is for calls of which nobody knows beforehand how many meet which gateway: the callees take all they get and are ended.
func (f *farm) spread(caller sipp.Run, scenario string) {
	f.Helper()
	for i := range f.gw {
		r := f.callee(i, scenario, 1000)
		p, err := sipp.Start(f.Context(), r)
		require.NoError(f, err)
		f.Cleanup(p.Kill)
		require.NoError(f, sipp.Listening(f.Context(), r.Local, f.tcp))
	}
	f.run(caller)
	for _, gw := range f.gw {
		require.Contains(f, f.proxy.output(), " -> "+gw+" ", "each gateway has its share")
	}
}

func TestFailoverOn500(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "failover", "-pick", "hash")
		refuses := with(f.callee(0, "uas_refuse", 1000), "@CODE@", "500")
		p, err := sipp.Start(f.Context(), refuses)
		require.NoError(t, err)
		f.Cleanup(p.Kill)
		require.NoError(t, sipp.Listening(f.Context(), refuses.Local, tcp))
		f.run(f.caller("uac"), f.callee(1, "uas", calls))
		require.Contains(t, f.proxy.output(), "SIP/2.0 500")
	})
}

func TestFailoverOnSilence(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "failover", "-trying", "1s")
		silent(t, f.gw[0])
		f.run(f.caller("uac"), f.callee(1, "uas", calls)) // SIPp gives up before Timer B does
	})
}

// Nobody listens at the first gateway: ICMP, or a refused connection, moves the call on at once.
func TestFailoverOnNobody(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "failover", "-trying", "30s")
		f.run(f.caller("uac"), f.callee(1, "uas", calls))
	})
}

func TestFailoverNotOn486(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "failover")
		f.run(with(f.caller("uac_refused"), "@CODE@", "486", "@CONTACT@", "486"),
			with(f.callee(0, "uas_refuse", calls/2), "@CODE@", "486"), with(f.callee(1, "uas_refuse", calls/2), "@CODE@", "486"))
	})
}

func TestRedirect(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "redirect")
		contact := "Contact: <sip:100@(" + f.gw[0] + "|" + f.gw[1] + ")"
		f.run(with(f.caller("uac_refused"), "@CODE@", "302", "@CONTACT@", strings.ReplaceAll(contact, "<", "&lt;")))
		for _, gw := range f.gw {
			require.Eventually(t, func() bool { return strings.Count(f.proxy.output(), "Contact: <sip:100@"+gw) == calls/2 },
				time.Minute, time.Millisecond, "half of the calls are sent to each")
		}
	})
}

func TestOtherMethodsAndStrangers(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateful", "-allow", "3.4.5.6/24,4.5.6.7/24")
		f.run(with(f.caller("uac_request"), "@METHOD@", "OPTIONS", "@CODE@", "404"))
		f.run(with(f.caller("uac_refused"), "@CODE@", "403", "@CONTACT@", "403"))
	})
}

// Two proxies in a row, both on the path of the call.
func TestChainOfTwo(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		for _, scenario := range []string{"", "_cancel"} {
			inner := newFarm(t, tcp, runner, "-mode", "stateful")
			outer := *inner
			outer.proxy = balance(t, "-mode", "stateful", "-runner", runner, "-gateways", inner.proxy.addr(tcp))
			outer.run(outer.caller("uac"+scenario), inner.callee(0, "uas"+scenario, calls/2), inner.callee(1, "uas"+scenario, calls/2))
			checkTrace(t, inner.proxy)
		}
	})
}

// silent takes messages and says nothing.
func silent(t *testing.T, addr string) {
	u, err := net.ListenPacket("udp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = u.Close() })
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

// SIGTERM lets calls that are being set up finish and refuses new ones.
func TestDrain(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		f := newFarm(t, tcp, runner, "-mode", "stateful", "-drain", "10s")
		callee := f.callee(0, "uas_refuse_late", 1)
		p, err := sipp.Start(t.Context(), with(callee, "@CODE@", "486"))
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		require.NoError(t, sipp.Listening(t.Context(), callee.Local, tcp))
		early := with(f.caller("uac_refused"), "@CODE@", "486", "@CONTACT@", "486")
		early.Calls = 1
		call, err := sipp.Start(t.Context(), early)
		require.NoError(t, err)
		t.Cleanup(call.Kill)
		f.proxy.await("SIP/2.0 180")
		require.NoError(t, f.proxy.cmd.Process.Signal(syscall.SIGTERM))
		require.Eventually(t, func() bool { return strings.Contains(f.proxy.output(), "draining") }, 20*time.Second, 5*time.Millisecond)
		late := with(f.caller("uac_refused"), "@CODE@", "503", "@CONTACT@", "Retry-After")
		late.Calls = 1
		require.NoError(t, sipp.Call(t.Context(), late))
		require.NoError(t, call.Wait())
		require.NoError(t, p.Wait())
		require.NoError(t, f.proxy.cmd.Wait(), "a drained program ends well")
		checkTrace(t, f.proxy)
	})
}
