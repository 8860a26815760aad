package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// The torture messages of RFC 4475 and RFC 5118 as they are, each to a program of its own: it answers as they say and serves whoever comes next.
func TestTortureOnTheWire(t *testing.T) {
	const (
		relayed = -1 // to a foreign domain: what comes of it is not ours to say
		silence = 0  // a response, no SIP, or its answer goes to the port in its Via
	)
	both := func(code int) [2]int { return [2]int{code, code} }
	want := map[string][2]int{ // over UDP, over TCP
		"badaspec": both(400), "badbranch": both(404), "baddate": both(404), "badinv01": {silence, 400}, "badvers": both(505), "bcast": both(silence),
		"bext01": both(404), "bigcode": both(silence), "cparam01": both(200), "cparam02": both(200), "dblreq": both(200), "esc01": both(relayed), "esc02": both(relayed),
		"escnull": both(200), "escruri": both(400), "insuf": both(400), "intmeth": both(404), "inv2543": {404, 400}, "invut": both(404), "longreq": both(404),
		"ltgtruri": both(400), "lwsdisp": both(404), "lwsruri": both(400), "lwsstart": both(400), "mcl01": both(400), "mismatch01": both(400), "mismatch02": both(400),
		"mpart01": both(relayed), "multi01": both(400), "ncl": both(400), "noreason": both(silence), "novelsc": both(416), "quotbal": both(400), "regaut01": both(200),
		"regbadct": both(400), "regescrt": both(200), "scalar02": both(400), "scalarlg": both(silence), "sdp01": both(404), "semiuri": both(404), "test": both(silence),
		"transports": both(404), "trws": both(400), "unkscm": both(416), "unksm2": both(400), "unreason": both(silence), "wsinv": both(403), "zeromf": both(404),
		"clerr": {400, silence}, "baddn": {400, silence}, // on a stream the rest is waited for
		"01-ipv6-ruri": both(relayed), "02-ipv6-nobrackets": both(400), "03-port-in-brackets": both(relayed), "04-port-outside": both(relayed),
		"05-received-brackets": both(404), "06-received-nobrackets": both(relayed), "07-sdp-ipv6": both(relayed), "08-multi-via": both(404),
		"09-sdp-mixed": both(relayed), "10-mapped": both(404),
	}
	files, err := filepath.Glob("../../sip/testdata/torture/*/*.dat")
	require.NoError(t, err)
	require.Len(t, files, len(want))
	for i, proto := range []string{"udp", "tcp"} {
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".dat")
			codes, known := want[name]
			require.True(t, known, name)
			t.Run(proto+"/"+name, func(t *testing.T) {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				_, addr := start(t, "-listen", proto+":127.0.0.1:0", "-domain", office, "-store", "memory")
				w := wired(t, proto, addr[0])
				w.send(string(text))
				if codes[i] > 0 {
					require.Equal(t, codes[i], w.anyFinal().Code)
				}
				next := wired(t, proto, addr[0])
				require.Equal(t, 200, next.ask(next.register("next")).Code)
				if codes[i] == silence {
					// What is read in order is answered in order: nothing has come by now, or ever will.
					_, err := w.next(time.Millisecond)
					require.Error(t, err)
				}
			})
		}
	}
}

// anyFinal is the next final response, whose ever it is.
func (w *wire) anyFinal() *sip.Response {
	w.Helper()
	for {
		raw, err := w.next(20 * time.Second)
		require.NoError(w, err)
		res, err := sip.ParseResponse(raw)
		require.NoError(w, err, raw)
		if res.Code >= 200 {
			return res
		}
	}
}
