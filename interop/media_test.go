package interop

import (
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// A mediaEngine can be started in a namespace, with an address for media, and gives flags for the registrar.
type mediaEngine struct {
	name  string
	start func(t *testing.T, ns namespace, host string, more ...string) []string
}

var mediaEngines = []mediaEngine{
	{"embedded", func(*testing.T, namespace, string, ...string) []string { return nil }},
	{"rtpproxy", startRelay},
	{"rtpengine", startEngine},
}

// Two phones hear each other through each media engine.
func TestPhonesThroughEngines(t *testing.T) {
	t.Parallel()
	need(t, "baresip")
	for _, e := range mediaEngines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			host := loopback()
			o := openOffice(t, "", host, append([]string{"-media", "always"}, e.start(t, "", host)...)...)
			a, b := pair(o, phoneConfig{})
			throughEngine(o, host, a, b)
		})
	}
}

// So do two phones behind NATs.
func TestPhonesBehindNATThroughEngines(t *testing.T) {
	t.Parallel()
	need(t, "baresip", "ip", "nft")
	for _, e := range mediaEngines[1:] { // the rest of the NAT tests have the embedded one
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t)
			o := openOffice(t, n.server, serverAddr, e.start(t, n.server, serverAddr)...)
			a, b := n.pair(o, phoneConfig{})
			throughEngine(o, serverAddr, a, b)
		})
	}
}

// throughEngine calls both ways: all descriptions lead to the engine.
func throughEngine(o *office, host string, a, b *phone) {
	o.t.Helper()
	for range 2 {
		a.call(b)
		talk(a, b)
		a.hangup(b)
		a, b = b, a
	}
	list := o.descriptions()
	require.GreaterOrEqual(o.t, len(list), 4, "offers and answers that went out")
	for _, sdp := range list {
		require.Contains(o.t, sdp, "c=IN IP4 "+host+"\r\n")
	}
}

// startRelay starts examples/rtprelay, which speaks the protocol of RTPProxy.
func startRelay(t *testing.T, ns namespace, host string, more ...string) []string {
	t.Helper()
	control := "udp:" + freePort(t)
	name, args := ns.command(relayProgram, append([]string{"-listen", control, "-interface", "lan=" + host}, more...)...)
	p := launch(t, name, args...)
	poll(t, "rtprelay", func() bool { return strings.Contains(p.output(), "msg=ready") })
	return []string{"-rtpproxy", control}
}

// startEngine starts rtpengine without its kernel module.
func startEngine(t *testing.T, ns namespace, host string, more ...string) []string {
	t.Helper()
	need(t, "rtpengine")
	control := freePort(t)
	name, args := ns.command("rtpengine", append([]string{"--config-file=none", "--table=-1", "--interface=" + host, "--listen-ng=" + control, "--port-min=10000", "--port-max=10999",
		"--foreground", "--log-stderr", "--log-level=6", "--pidfile=" + filepath.Join(t.TempDir(), "pid"), "--num-threads=2"}, more...)...)
	p := launch(t, name, args...)
	poll(t, "rtpengine", func() bool { return strings.Contains(p.output(), "Startup complete") })
	return []string{"-rtpengine", "udp:" + control}
}

// packets is the trace of the registrar so far.
func (o *office) packets() []packet {
	o.t.Helper()
	return readTrace(o.t, withoutLog(o.output()))
}

func (o *office) sent(p packet) bool {
	for _, a := range o.addr {
		if p.from == a {
			return true
		}
	}
	return false
}

// descriptions are the offers and answers that the registrar sent.
func (o *office) descriptions() (list []string) {
	o.t.Helper()
	for _, p := range o.packets() {
		if body := p.msg.Head().Body(); body != "" && o.sent(p) {
			list = append(list, body)
		}
	}
	return list
}

// byes are where the registrar sent BYEs to.
func (o *office) byes() (to []string) {
	o.t.Helper()
	for _, p := range o.packets() {
		if m, ok := p.msg.(*sip.Request); ok && m.Method == sip.BYE && o.sent(p) && !slices.Contains(to, p.to) {
			to = append(to, p.to)
		}
	}
	return to
}

// When the media of a call stop, both parties get a BYE, whichever engine notices.
func TestMediaTimeout(t *testing.T) {
	t.Parallel()
	need(t, "baresip")
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		mediaStops(t, openOffice(t, "", loopback(), "-media", "always", "-media-timeout", "1s"))
	})
	t.Run("rtpproxy", func(t *testing.T) {
		t.Parallel()
		host, socket := loopback(), "unix:"+filepath.Join(t.TempDir(), "n")
		flags := startRelay(t, "", host, "-timeout", "1s", "-notify", socket)
		mediaStops(t, openOffice(t, "", host, append(flags, "-media", "always", "-media-notify", socket)...))
	})
	t.Run("rtpengine", func(t *testing.T) {
		t.Parallel()
		for _, format := range []string{"1", "2"} {
			host, socket := loopback(), freePort(t)
			flags := startEngine(t, "", host, "--timeout=2", "--b2b-url=http://"+socket+"/RPC2", "--xmlrpc-format="+format)
			mediaStops(t, openOffice(t, "", host, append(flags, "-media", "always", "-media-notify", "http:"+socket)...))
		}
	})
}

func mediaStops(t *testing.T, o *office) {
	t.Helper()
	a, b := pair(o, phoneConfig{})
	a.call(b)
	talk(a, b)
	start := time.Now()
	a.kill()
	b.signal(syscall.SIGSTOP) // the relay hears the other one neither
	poll(t, "BYE to both", func() bool { return len(o.byes()) == 2 })
	require.ElementsMatch(t, []string{a.addr + ":" + a.port, b.addr + ":" + b.port}, o.byes())
	b.signal(syscall.SIGCONT)
	b.wait("CALL_CLOSED")
	poll(t, "STOP", func() bool { return strings.Contains(o.output(), "kind=STOP") })
	t.Logf("BYE to both after %v", time.Since(start).Round(10*time.Millisecond))
}

// A recording holds the packets of both parties.
func TestRecording(t *testing.T) {
	t.Parallel()
	need(t, "baresip", "tshark")
	dir := t.TempDir()
	o := openOffice(t, "", loopback(), "-media", "always", "-record", dir)
	a, b := pair(o, phoneConfig{})
	a.call(b)
	talk(a, b)
	a.hangup(b)
	want := map[string]bool{"127.0.0.1:" + o.mediaPort(a): true, "127.0.0.1:" + o.mediaPort(b): true}
	var count map[string]int
	poll(t, "a recording of both", func() bool { // it is complete some time after the BYE
		files, _ := filepath.Glob(filepath.Join(dir, "*.pcap"))
		if len(files) != 1 {
			return false
		}
		count = rtpSources(t, files[0], o.mediaPort(a), o.mediaPort(b))
		return len(count) == 2
	})
	t.Log("packets of each party:", count)
	for from, n := range count {
		require.Greater(t, n, 20, from)
		require.Contains(t, want, from)
	}
}

// rtpSources counts packets of PCMU in a capture by where they come from.
func rtpSources(t *testing.T, file string, ports ...string) map[string]int {
	t.Helper()
	args := []string{"-r", file, "-Y", "rtp.p_type == 0", "-T", "fields", "-e", "ip.src", "-e", "udp.srcport"}
	for _, p := range ports {
		args = append(args, "-d", "udp.port=="+p+",rtp")
	}
	out, _ := exec.CommandContext(t.Context(), "tshark", args...).Output() // it complains while the file is not complete
	count := make(map[string]int)
	for l := range strings.Lines(string(out)) {
		if f := strings.Fields(l); len(f) == 2 {
			count[f[0]+":"+f[1]]++
		}
	}
	return count
}

// The registrar is killed in the middle of a call and started again: the call can be ended, nobody has to register anew, a further call works.
func TestKilledInCall(t *testing.T) {
	t.Parallel()
	need(t, "baresip")
	o := openOffice(t, "", loopback(), "-media", "always")
	a, b := pair(o, phoneConfig{})
	a.call(b)
	talk(a, b)
	before := o.process
	o.kill()
	start := time.Now()
	o.restart()
	t.Logf("listening again after %v", time.Since(start).Round(time.Millisecond))
	b.hangup(a)
	b.call(a)
	talk(a, b)
	a.hangup(b)
	defer b.stop() // before the new process
	defer a.stop()
	require.NotContains(t, o.output(), "REGISTER", "the phones did not register meanwhile")
	require.Contains(t, before.output(), "REGISTER")
}

// A phone with IPv4 and one with IPv6: signalling and media cross.
func TestIPv4ToIPv6(t *testing.T) {
	t.Parallel()
	need(t, "baresip")
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_ = c.Close()
	o := openOffice(t, "", loopback(), "-listen", "udp:[::1]:0")
	a := o.phone(phoneConfig{user: "alice", hertz: 440, addr: "127.0.0.1"})
	b := o.phone(phoneConfig{user: "bob", hertz: 1000, addr: "::1"})
	for range 2 {
		a.call(b)
		talk(a, b)
		a.hangup(b)
		a, b = b, a
	}
}

// Who is put on hold hears music, and the other party again afterwards. After a re-INVITE baresip records no more, so this looks at the wire.
func TestMusicOnHold(t *testing.T) {
	t.Parallel()
	need(t, "baresip", "tshark")
	if os.Geteuid() != 0 {
		t.Skip("only root may capture packets")
	}
	const music = 620
	file := filepath.Join(t.TempDir(), "music.wav")
	writeTone(t, file, music, 10*time.Second)
	host := loopback()
	o := openOffice(t, "", host, "-media", "always", "-moh", file)
	a, b := pair(o, phoneConfig{})
	a.call(b)
	talk(a, b)
	port := o.mediaPort(b)
	require.Equal(t, a.hertz, onWire(t, host, port))
	a.do("hold", "")
	poll(t, "music", func() bool { return onWire(t, host, port) == music })
	a.do("resume", "")
	poll(t, "the other party", func() bool { return onWire(t, host, port) == a.hertz })
	b.hangup(a)
}

// mediaPort is where a phone wants its media, by its first description.
func (o *office) mediaPort(p *phone) string {
	o.t.Helper()
	for _, q := range o.packets() {
		if q.from != p.addr+":"+p.port {
			continue
		}
		if _, rest, ok := strings.Cut(q.msg.Head().Body(), "m=audio "); ok {
			port, _, _ := strings.Cut(rest, " ")
			return port
		}
	}
	require.Fail(o.t, "no description of "+p.user)
	return ""
}

// onWire is the pitch of half a second of G.711 mu-law that a relay on this machine sends to a port; 0 when it is no clear one.
func onWire(t *testing.T, host, port string) float64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tshark", "-i", "lo", "-f", "udp and src host "+host+" and dst port "+port, "-c", "25", "-a", "duration:5",
		"-d", "udp.port=="+port+",rtp", "-T", "fields", "-e", "rtp.payload").Output()
	require.NoError(t, err)
	var samples []float64
	for l := range strings.Lines(string(out)) {
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(l), ":", ""))
		require.NoError(t, err)
		for _, c := range b {
			samples = append(samples, linear(c))
		}
	}
	hertz, share := pitch(samples)
	if share < 0.8 {
		return 0
	}
	return hertz
}

// linear decodes a sample of G.711 mu-law.
func linear(c byte) float64 {
	c = ^c
	v := float64(int(c&0xf)<<3+0x84)*float64(int(1)<<(c>>4&7)) - 0x84
	if c&0x80 != 0 {
		return -v
	}
	return v
}
