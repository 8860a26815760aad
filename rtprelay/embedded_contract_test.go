package rtprelay_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/rtprelay/rtprelaytest"
)

var lo = []rtprelay.Interface{{Name: "lo", Addr: netip.MustParseAddr("127.0.0.1")}}

func TestEmbeddedContract(t *testing.T) {
	rtprelaytest.TestEngine(t, func() rtprelay.Engine {
		return &rtprelay.Embedded{Interfaces: lo, RecordDir: t.TempDir()}
	})
}

// TestOurClientDrivesControl: the two halves of the protocol are written apart from each other.
func TestOurClientDrivesControl(t *testing.T) {
	for _, kind := range []string{"udp", "tcp", "unix", "cunix"} {
		t.Run(kind, func(t *testing.T) {
			rtprelaytest.TestEngine(t, func() rtprelay.Engine {
				e := &rtprelay.Embedded{Interfaces: lo, RecordDir: t.TempDir()}
				where := kind + ":127.0.0.1:0"
				if kind == "unix" || kind == "cunix" {
					where = kind + ":" + t.TempDir() + "/s"
				}
				c := &rtprelay.Control{Engine: e, Listen: []string{where}}
				require.NoError(t, c.Start())
				t.Cleanup(func() {
					require.NoError(t, c.Close())
					require.NoError(t, e.Close())
				})
				return &rtprelay.RTPProxy{Address: kind + ":" + c.Addrs()[0].String()}
			})
		})
	}
}
