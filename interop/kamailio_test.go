package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/sipp"
)

// kamailio starts a neighbour that sends new calls to next, and gives its address.
func kamailio(t *testing.T, tcp bool, next string) string {
	t.Helper()
	need(t, "kamailio")
	cfg, err := filepath.Abs("testdata/kamailio.cfg")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "kam") // its control socket has to have a short name
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	addr := freePort(t)
	transport := ""
	if tcp {
		transport = ";transport=tcp"
	}
	launch(t, "kamailio", "-f", cfg, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-A", "CHILDREN=2", "-A", `NEXT="sip:`+next+transport+`"`,
		"-l", "udp:"+addr, "-l", "tcp:"+addr)
	require.NoError(t, sipp.Listening(t.Context(), addr, false))
	require.NoError(t, sipp.Listening(t.Context(), addr, true))
	return addr
}

// Caller, Kamailio, sipkit, callees.
func TestKamailioBefore(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		for _, scenario := range []string{"", "_cancel"} {
			f := newFarm(t, tcp, runner, "-mode", "stateful")
			caller := f.caller("uac" + scenario)
			caller.Remote = kamailio(t, tcp, f.proxy.addr(tcp))
			f.run(caller, f.callee(0, "uas"+scenario, calls/2), f.callee(1, "uas"+scenario, calls/2))
		}
	})
}

// Caller, sipkit, Kamailio, callee.
func TestKamailioBehind(t *testing.T) {
	each(t, func(t *testing.T, tcp bool, runner string) {
		for _, scenario := range []string{"", "_cancel"} {
			f := newFarm(t, tcp, runner, "-mode", "stateful")
			behind := *f
			behind.proxy = balance(t, "-mode", "stateful", "-runner", runner, "-gateways", kamailio(t, tcp, f.gw[0]))
			behind.run(behind.caller("uac"+scenario), f.callee(0, "uas"+scenario, calls))
		}
	})
}
