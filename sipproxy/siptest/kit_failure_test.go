package siptest_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

const brokenEnv = "SIPTEST_BROKEN"

// broken are scenarios that must fail, and what must be read then.
var broken = map[string]struct {
	want []string
	run  func(t *testing.T, k *siptest.Kit)
}{
	"refused": {
		[]string{
			"alice: INVITE: expected [200], got 404 Not Found",
			"alice", "proxy", "192.0.2.101", "── INVITE sip:bob@example.com", "404 Not Found (INVITE)", "what was sent:",
		},
		func(t *testing.T, k *siptest.Kit) {
			k.Server(t, &sipproxy.Server{Handler: answering(404)})
			k.Phone("alice", "192.0.2.1").Invite(t, "sip:bob@example.com").Expect(200)
		},
	},
	"nobody there": {
		[]string{"alice: INVITE: expected [200]: no answer in 32s", "no such host"},
		func(t *testing.T, k *siptest.Kit) {
			alice := k.Phone("alice", "192.0.2.1")
			alice.Proxy = "192.0.2.77:5060"
			alice.Proto = transport.UDP
			alice.Invite(t, "sip:bob@example.com").Expect(200)
		},
	},
	"goroutine left": {
		[]string{"siptest: goroutines were left behind:", "siptest_test.init"},
		func(*testing.T, *siptest.Kit) { go func() { time.Sleep(time.Hour) }() },
	},
	"handler that never ends": {
		[]string{"siptest: after 10m0s the server still has 1 requests in progress"},
		func(t *testing.T, k *siptest.Kit) {
			k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				sipproxy.Block(ctx, func() { time.Sleep(15 * time.Minute) })
				return r.Reply(404)
			})})
			k.Phone("alice", "192.0.2.1").Invite(t, "sip:bob@example.com")
		},
	},
	"forward elsewhere": {
		[]string{"siptest: Forward was called on another goroutine than the one that runs the handler or hook."},
		func(t *testing.T, k *siptest.Kit) {
			k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.Forward(ctx)
				}()
				<-done
				return r.Reply(404)
			})})
			k.Phone("alice", "192.0.2.1").Invite(t, "sip:bob@example.com").Expect(404)
		},
	},
	"send elsewhere": {
		[]string{"siptest: Send was called on another goroutine than the one that runs the handler or hook."},
		func(t *testing.T, k *siptest.Kit) {
			k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response {
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.Send(r.Reply(180))
				}()
				<-done
				return r.Reply(404)
			})})
			k.Phone("alice", "192.0.2.1").Invite(t, "sip:bob@example.com").Expect(404)
		},
	},
}

func answering(code int) sipproxy.HandlerFunc {
	return func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(code) }
}

// TestBroken runs only inside TestFailuresAreReadable: it fails.
func TestBroken(t *testing.T) {
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip("run by TestFailuresAreReadable")
	}
	siptest.Run(t, broken[name].run)
}

func TestFailuresAreReadable(t *testing.T) {
	for name, c := range broken {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "it passed:\n%s", out)
			for _, want := range c.want {
				require.Contains(t, string(out), want)
			}
			require.NotContains(t, string(out), "fatal error")
			require.NotContains(t, string(out), "panic:")
		})
	}
}
