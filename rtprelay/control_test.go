package rtprelay

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// departures are replies that differ from RTPProxy's on purpose, by transcript and cookie.
var departures = map[string]string{
	// capabilities not served: automatic bridging, load, connect time, G and D in one line, jitter, C as a sub-command
	"01/c10": "0", "01/c11": "0", "01/c12": "0", "01/c20": "0", "01/c21": "0", "01/c26": "0",
	"04/u10": "60 0 0 0 0", "04/u11": "*", "04/u23": "*", "04/u26": "E50", // other time-outs; our weak sessions end with their last mark
	"04/u25": "E50",
	"04/u67": "*",
	"05/i1":  "*", "05/i2": "*", "05/i3": "*", "05/i5": "*", "05/i6": "*", "05/i7": "*", // other counts
	"08/x6": "*", "08/x7": "*", // no packets were sent
	"08/x36": "*", // not draining
}

var portWord = regexp.MustCompile(`\b3[678]\d\d\d\b`)

// unescape turns the transcripts' \n into a line end.
func unescape(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }

// replay runs a transcript. Ports differ from run to run: each port of the transcript has to be one and the same of ours throughout.
func replay(t *testing.T, name string, c *Control, dir string) {
	text, err := os.ReadFile(filepath.Join("testdata", "rtpproxy", name+".txt"))
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	ports := map[string]string{}
	for i, line := range lines {
		cmd, ok := strings.CutPrefix(line, "> ")
		if !ok || i+1 >= len(lines) || !strings.HasPrefix(lines[i+1], "< ") {
			continue
		}
		want := strings.TrimPrefix(lines[i+1], "< ")
		if strings.HasPrefix(want, "(") || cmd == "" && want == "E5\\n" {
			continue
		}
		got := string(c.datagram([]byte(unescape(strings.ReplaceAll(cmd, "/TESTDIR", dir))), loopback, time.Unix(1, 0)))
		cookie, _, _ := strings.Cut(strings.TrimLeft(cmd, " "), " ")
		if d, ok := departures[name[:2]+"/"+cookie]; ok {
			if d != "*" {
				require.Equal(t, cookie+" "+d+"\n", got, "%s: %s", name, cmd)
			}
			continue
		}
		checkReply(t, ports, unescape(want), got, cmd)
	}
}

func checkReply(t *testing.T, ports map[string]string, want, got, what string) {
	theirs := portWord.FindAllString(want, -1)
	pattern := "^" + portWord.ReplaceAllString(regexp.QuoteMeta(want), `(\d+)`) + "$"
	m := regexp.MustCompile(pattern).FindStringSubmatch(got)
	require.NotNil(t, m, "%s: want %q, got %q", what, want, got)
	for i, p := range theirs {
		// RTPProxy gives a port to several calls in turn, and in one call to both address families.
		key := fmt.Sprint(p, strings.Contains(want, ":"))
		if words := strings.Fields(what); len(words) > 2 {
			key += words[2]
		}
		if known, ok := ports[key]; ok {
			require.Equal(t, known, m[i+1], "%s: another port", what)
		}
		ports[key] = m[i+1]
	}
}

func TestControlTranscripts(t *testing.T) {
	for name, set := range map[string]struct {
		nets   []Interface
		notify bool
	}{
		"01-version-capabilities": {nets: nil, notify: true},
		"02-framing-udp":          {nets: nil},
		"04-update-lookup-delete": {nets: nil, notify: true},
		"05-info-stats":           {nets: nil},
		"06-play-record-copy":     {nets: nil},
		"08-rtp-relay-latching":   {nets: nil},
		"09-bridge":               {nets: []Interface{{Name: "a", Addr: loopback}, {Name: "b", Addr: netip.MustParseAddr("127.0.0.2")}}},
		"10-ipv6-advertised":      {nets: []Interface{{Name: "a", Addr: loopback, Advertise: netip.MustParseAddr("203.0.113.7")}, {Name: "vsix", Addr: netip.IPv6Loopback()}}},
		"11-bridge-v4-v6":         {nets: []Interface{{Name: "a", Addr: loopback}, {Name: "b", Addr: netip.IPv6Loopback()}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "ann.0"), make([]byte, 160), 0o600))
			e := newRelay(t, func(e *Embedded) {
				e.RecordDir = dir
				if set.nets != nil {
					e.Interfaces = set.nets
				}
			})
			c := &Control{Engine: e}
			if set.notify {
				c.Notify = []string{"unix:" + dir + "/n.sock"}
			}
			t.Cleanup(func() { _ = c.Close() })
			replay(t, name, c, dir)
		})
	}
}

// startControl serves on sockets of its own.
func startControl(t *testing.T, c *Control) {
	require.NoError(t, c.Start())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
}

func TestControlSockets(t *testing.T) {
	dir := t.TempDir()
	c := &Control{Engine: newRelay(t, nil), Listen: []string{
		"udp:127.0.0.1:0", "tcp:127.0.0.1:0", "unix:" + dir + "/u", "cunix:" + dir + "/c", "udp6:[::1]:0"}}
	startControl(t, c)
	a := c.Addrs()
	dial := func(i int) net.Conn {
		conn, err := net.Dial(a[i].Network(), a[i].String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	b := make([]byte, 1000)
	talk := func(conn net.Conn, send, want string) {
		t.Helper()
		_, err := conn.Write([]byte(send))
		require.NoError(t, err)
		got := ""
		for len(got) < len(want) {
			n, err := conn.Read(b)
			require.NoError(t, err)
			got += string(b[:n])
		}
		require.Equal(t, want, got)
	}
	for _, i := range []int{0, 4} {
		udp := dial(i)
		talk(udp, fmt.Sprint(i, "1 V"), fmt.Sprint(i, "1 20040107\n"))
		talk(udp, fmt.Sprint(i, "1 X"), fmt.Sprint(i, "1 20040107\n"))
		talk(udp, " ", "E5\n")
	}
	for _, i := range []int{1, 3} {
		stream := dial(i)
		talk(stream, "V\nVF 20050322\n", "20040107\n1\n")
		talk(stream, "1_1 V\n", "E0\n")
	}
	one := dial(2)
	talk(one, "V", "20040107\n")
	_, err := one.Read(b)
	require.Error(t, err)
}

func TestControlRefusesStrangers(t *testing.T) {
	c := &Control{Engine: newRelay(t, nil), From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	require.False(t, c.allowed(loopback))
	require.True(t, c.allowed(netip.MustParseAddr("::ffff:192.0.2.1")))
	c.From = nil
	require.True(t, c.allowed(loopback))
	require.False(t, c.allowed(netip.MustParseAddr("192.0.2.1")))
}

func TestControlCookies(t *testing.T) {
	c := &Control{Engine: newRelay(t, nil)}
	at := time.Unix(100, 0)
	ask := func(s string) string { return string(c.datagram([]byte(s), loopback, at)) }
	require.Equal(t, "k 20040107\n", ask("k V"))
	for i := range 31 {
		at = at.Add(time.Second)
		ask(fmt.Sprint("other", i, " V"))
	}
	require.Equal(t, "k 20040107\n", ask("k VF 1"))
	at = at.Add(2 * replyLife)
	require.Equal(t, "k 0\n", ask("k VF 1"))
	for i := range 3 * maxCached {
		ask(fmt.Sprintf("c%d V", i))
	}
	require.LessOrEqual(t, len(c.replies.young)+len(c.replies.old), 2*maxCached)
}

func TestControlNotifies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	e := newRelay(t, func(e *Embedded) { e.HalfOpen = 20 * time.Millisecond; e.Timeout = 20 * time.Millisecond })
	c := &Control{Engine: e, Notify: []string{"unix:" + path}}
	t.Cleanup(func() { _ = c.Close() })
	require.Contains(t, c.run("U a 127.0.0.1 9 f;1 unix:"+path+" TAG%20one"), "127.0.0.1")
	conn, err := l.Accept()
	require.NoError(t, err)
	b := make([]byte, 100)
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "TAG one\n", string(b[:n]))
	require.Equal(t, "E50", c.run("D a f"))
	require.Contains(t, c.run("U b 127.0.0.1 9 f;1 t;1 unix:"+path+" second"), "127.0.0.1")
	n, err = conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(b[:n]))
}

func TestControlDrain(t *testing.T) {
	c := &Control{Engine: newRelay(t, nil)}
	old := c.run("U old 127.0.0.1 9 f;1")
	c.Drain()
	require.Equal(t, "E99", c.run("U new 127.0.0.1 9 f;1"))
	require.Equal(t, old, c.run("U old 127.0.0.1 9 f;1"))
	require.Equal(t, "0", c.run("D old f"))
}

func FuzzControl(f *testing.F) {
	for _, s := range []string{"V", "VF 20050322", "Uc8,0,101 call 127.0.0.1 9 f;1", "L call 127.0.0.1 9 f;1 t;1", "UIE6 c ::1 9 f;1",
		"P-1 call file 0,8 f;1 t;1", "D call f t", "Qv call f;1 t;1 ttl", "U a 127.0.0.1 9 f;1 && L 127.0.0.1 9", "Ul{lo}z20r127.0.0.1 c 0.0.0.0 9 f"} {
		f.Add(s)
	}
	e := &Embedded{Interfaces: []Interface{{Name: "lo", Addr: loopback, Low: 32000, High: 32099}}, RecordDir: f.TempDir()}
	c := &Control{Engine: e}
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 0 && upper(line[0]) == 'P' {
			return // files of this machine
		}
		if reply := c.run(line); strings.ContainsRune(reply, 0) {
			t.Fatalf("%q", reply)
		}
	})
}

// copied reads the next packet of a phone and checks its payload.
func (p *phone) copied(text string) {
	p.t.Helper()
	b, _ := p.get()
	require.Equal(p.t, text, string(b[12:]))
}

// TestControlCopy: copies of one party's packets go to a host or into a file, until something takes their place.
func TestControlCopy(t *testing.T) {
	for _, portable := range []bool{false, true} {
		dir := t.TempDir()
		c := &Control{Engine: newRelay(t, func(e *Embedded) { e.RecordDir, e.portable = dir, portable })}
		alice, bob := newPhone(t, "127.0.0.1"), newPhone(t, "127.0.0.1")
		ear, ear2 := newPair(t, "127.0.0.1")
		at := func(verb string, p *phone, tags string) netip.AddrPort {
			reply := c.run(fmt.Sprintf("%s call 127.0.0.1 %d %s", verb, p.addr().Port(), tags))
			w := strings.Fields(reply)
			require.Len(t, w, 2, reply)
			return netip.MustParseAddrPort(w[1] + ":" + w[0])
		}
		toAlice := at("U", alice, "f;1")
		toBob := at("L", bob, "f;1 t;1")
		target := "udp:" + ear.addr().String()
		require.Regexp(t, `^\d+ 127\.0\.0\.1$`, c.run("CP call "+target+" f;1 t;1"))
		first := c.run("CP call " + target + " f;1 t;1")
		require.Equal(t, first, c.run("CP call "+target+" f;1"), "nothing new")
		alice.say(toBob, "one")
		bob.hears(toAlice, "one")
		ear.copied("one")
		bob.say(toAlice, "not copied")
		alice.hears(toBob, "not copied")
		alice.send(toBob, rtcpPacket(uint32(alice.addr().Port())))
		b, _ := ear2.get()
		require.Equal(t, byte(201), b[1], "RTCP goes to the port above")

		require.Equal(t, "0", c.run("C call two/../file f;1 t;1"))
		alice.say(toBob, "two")
		for heard := ""; !strings.HasSuffix(heard, "two"); { // the RTCP packet may come first
			b, _ := bob.get()
			heard = string(b)
		}
		require.Equal(t, "0", c.run("N call f t"))
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		require.Equal(t, []string{filepath.Join(dir, "c-two_.._file.pcap")}, files)
		until(t, func() bool { // it is written some time after N
			st, err := os.Stat(files[0])
			return err == nil && st.Size() > 0
		})
		require.Len(t, recorded(t, files[0]), 1)

		for line, code := range map[string]string{
			"C call udp:127.0.0.1 f;1": "E65", "C call udp:224.0.0.1:5000 f;1": "E65", "C call udp:host:5000 f;1": "E65", "C call udp:127.0.0.1:65535 f;1": "E65",
			"C call udp:" + toBob.String() + " f;1": "E65", "CP call file f;1": "E65", "Cx call file f;1": "E2", "C call file": "E1", "C call a b c d": "E1",
			"C other file f;1": "E50", "C call file f": "E50",
		} {
			require.Equal(t, code, c.run(line), line)
		}
		require.Equal(t, "0", c.run("C call "+target+" t;1 f;1"))
		bob.say(toAlice, "three")
		ear.copied("three")
		require.Equal(t, "0", c.run("D call f t"))
	}
}

// TestControlSubCommands: what follows && is about the same session; all of it is served or nothing.
func TestControlSubCommands(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := &Control{Engine: newRelay(t, func(e *Embedded) { e.portable = portable })}
		tos := func(port string) int {
			for _, call := range c.Engine.calls {
				for i := range call.sessions[0].sides {
					if p := call.sessions[0].sides[i].rtp; p != nil && fmt.Sprint(p.num) == port {
						return tosOf(t, p.sock)
					}
				}
			}
			return -1
		}
		offered, _, _ := strings.Cut(c.run("U call 127.0.0.1 9 f;1 && S ttl=90 tos=40 && Sr tos=96"), " ")
		require.Equal(t, 96, tos(offered), "what goes to the other party leaves from the port that it knows")
		require.Contains(t, c.run("Q call f;1"), "90 0 0 0 0", "half open")
		answered, _, _ := strings.Cut(c.run("L call 127.0.0.1 9 f;1 t;1 && S ttl=80"), " ")
		require.Equal(t, 40, tos(answered), "remembered until the port was opened")
		require.Equal(t, "80 0 0 0 0", c.run("Q call f;1 t;1"))
		c.run("L call 127.0.0.1 9 f;1 t;1 && S tos=0")
		require.Equal(t, 0, tos(offered))
		for _, line := range []string{
			"&& Y", "&&", "&& S", "&& S ttl=0", "&& S ttl=x", "&& S tos=256", "&& S other=1", "&& Sx ttl=1", "&& D x", "&& Dx", "&& M4:1", "&& M", "&& C call f t", "&& T", "&& T0", "&& Tr", "&& Tx", "&& T9 x", "&& L 127.0.0.1",
			"&& S ttl=1 &&", "&& S ttl=1 && && S ttl=1",
		} {
			require.Equal(t, "E3", c.run("U new 127.0.0.1 9 f;1 "+line), line)
		}
		require.Equal(t, "E3", c.run("L call 127.0.0.1 9 f;1 t;1 && L 127.0.0.1 9"))
		require.Equal(t, "E3", c.run("D call f && D"))
		require.Equal(t, "E50", c.run("Q new f;1"), "nothing was made")
		require.Equal(t, "0", c.run("VF 20260309"))
		c.run("U call 127.0.0.1 9 f;1 t;1 && Tr70")
		require.Equal(t, "70 0 0 0 0", c.run("Q call f;1 t;1"))
		c.run("U call 127.0.0.1 9 f;1 t;1 && T80")
		require.Equal(t, "80 0 0 0 0", c.run("Q call f;1 t;1 && D"))
		require.Equal(t, "E50", c.run("Q call f;1 t;1"))
		require.Zero(t, c.Engine.Counters().Sessions)
	}
}

// TestControlNotifiesTheCommander: %%CC_SELF%% is the host that commands.
func TestControlNotifiesTheCommander(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	socket := fmt.Sprintf("tcp:%%%%CC_SELF%%%%:%d", l.Addr().(*net.TCPAddr).Port)
	c := &Control{Engine: newRelay(t, func(e *Embedded) { e.HalfOpen, e.Timeout = 20*time.Millisecond, 20*time.Millisecond }), Notify: []string{socket}}
	t.Cleanup(func() { _ = c.Close() })
	require.Contains(t, string(c.command("U nobody 127.0.0.1 9 f;1 "+socket+" none", netip.Addr{})), "127.0.0.1", "without")
	require.Empty(t, c.notifier.conns, "over a UNIX socket nobody has an address")
	require.Contains(t, string(c.datagram([]byte("1 U call 127.0.0.1 9 f;1 "+socket+" tag"), loopback, time.Now())), "127.0.0.1")
	require.NoError(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(10*time.Second)))
	conn, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	b := make([]byte, 100)
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "tag\n", string(b[:n]))
}
