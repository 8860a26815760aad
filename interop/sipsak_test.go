package interop

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/sipp"
)

func sipsak(t *testing.T, args ...string) (string, error) {
	need(t, "sipsak", "sipp")
	out, err := exec.CommandContext(t.Context(), "sipsak", args...).CombinedOutput()
	return string(out), err
}

// OPTIONS is routed to a gateway, which answers, when the balancer lets all methods through.
func TestSipsakOptions(t *testing.T) {
	t.Parallel()
	need(t, "sipsak", "sipp")
	f := newFarm(t, false, "", "-mode", "stateful", "-methods", "any")
	r := with(f.callee(0, "uas_request", 1), "@METHOD@", "OPTIONS")
	p, err := sipp.Start(t.Context(), r)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	require.NoError(t, sipp.Listening(t.Context(), r.Local, false))
	out, err := sipsak(t, "-vv", "-s", "sip:100@"+f.proxy.udp)
	require.NoError(t, err, out)
	require.Contains(t, out, "200 OK")
	checkTrace(t, f.proxy)
}

// By itself it routes INVITE only.
func TestSipsakRefused(t *testing.T) {
	t.Parallel()
	need(t, "sipsak")
	f := newFarm(t, false, "", "-mode", "stateful")
	out, _ := sipsak(t, "-vv", "-s", "sip:100@"+f.proxy.udp)
	require.Contains(t, out, "404 Not Found")
	checkTrace(t, f.proxy)
}
