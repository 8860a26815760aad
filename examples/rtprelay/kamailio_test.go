//go:build unix

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
)

const kamailioConfig = `#!KAMAILIO
debug=-1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:%s
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "rtpproxy.so"
modparam("rtpproxy", "rtpproxy_sock", "udp:%s")
request_route {
	if (is_method("CANCEL")) {
		if (t_check_trans()) {
			rtpproxy_manage();
			t_relay();
		}
		exit;
	}
	if (has_totag()) {
		loose_route();
		if (is_method("INVITE|BYE|ACK")) rtpproxy_manage();
		if (is_method("INVITE")) t_on_reply("MEDIA");
		t_relay();
		exit;
	}
	record_route();
	rtpproxy_manage();
	t_on_reply("MEDIA");
	t_on_failure("FAILED");
	$du = "sip:%s";
	t_relay();
}
onreply_route[MEDIA] {
	if (status =~ "(180)|(183)|2[0-9][0-9]") rtpproxy_manage();
}
failure_route[FAILED] {
	rtpproxy_manage();
}
`

// startKamailio runs Debian's Kamailio between callers and one callee.
func startKamailio(t *testing.T, relay, callee net.Addr) string {
	programs.Need(t, "kamailio")
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.LocalAddr().String()
	require.NoError(t, free.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, kamailioConfig, addr, relay, callee), 0o600))
	cmd := exec.Command("kamailio", "-f", config, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-w", dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd.Stderr, cmd.Stdout = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children go with it
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		gone := make(chan struct{})
		go func() { _ = cmd.Wait(); close(gone) }()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-gone
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("kamailio:\n%s", b)
		}
		_ = log.Close()
	})
	return addr
}

// ua is a phone made of one SIP and one RTP socket.
type ua struct {
	t        *testing.T
	sip, rtp *net.UDPConn
	proxy    *net.UDPAddr
	target   string // Request-URI
	seq      uint16
}

func newUA(t *testing.T) *ua {
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
		return c
	}
	return &ua{t: t, sip: listen(), rtp: listen()}
}

func (u *ua) send(m string) {
	_, err := u.sip.WriteToUDP([]byte(m), u.proxy)
	require.NoError(u.t, err)
}

// await reads SIP messages until one starts with or contains what is waited for.
func (u *ua) await(what string) string {
	u.t.Helper()
	b := make([]byte, 65536)
	for {
		n, from, err := u.sip.ReadFromUDP(b)
		require.NoError(u.t, err, "waiting for %s", what)
		u.proxy = from
		if strings.HasPrefix(string(b[:n]), what) {
			return string(b[:n])
		}
	}
}

func (u *ua) sdp() string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 10.66.0.1\r\ns=-\r\nc=IN IP4 10.66.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8\r\n", u.rtp.LocalAddr().(*net.UDPAddr).Port)
}

func (u *ua) request(method string, cseq int, to, route, body string) string {
	at := u.sip.LocalAddr()
	return fmt.Sprintf("%[1]s %[8]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[1]s%[3]d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:alice@127.0.0.1>;tag=a\r\nTo: <sip:bob@127.0.0.1>%[4]s\r\nCall-ID: whole-call\r\nCSeq: %[3]d %[1]s\r\nContact: <sip:alice@%[2]s>\r\n%[5]s"+
		"Content-Type: application/sdp\r\nContent-Length: %[6]d\r\n\r\n%[7]s", method, at, cseq, to, route, len(body), body, u.target)
}

// reply answers with the fields that a response copies.
func (u *ua) reply(req, status, body string) {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for _, l := range strings.Split(req, "\r\n") {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			b.WriteString(l + "\r\n")
		case "To":
			if !strings.Contains(l, "tag=") {
				l += ";tag=b"
			}
			b.WriteString(l + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Contact: <sip:bob@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", u.sip.LocalAddr(), len(body), body)
	u.send(b.String())
}

var mLine = regexp.MustCompile(`c=IN IP4 (\S+)\r\n(?s:.*)m=audio (\d+) `)

// media reads where a message sends its reader's audio.
func media(t *testing.T, m string) *net.UDPAddr {
	t.Helper()
	f := mLine.FindStringSubmatch(m)
	require.NotNil(t, f, m)
	port, err := strconv.Atoi(f[2])
	require.NoError(t, err)
	require.NotEqual(t, "10.66.0.1", f[1])
	return &net.UDPAddr{IP: net.ParseIP(f[1]), Port: port}
}

func (u *ua) say(to *net.UDPAddr, text string) {
	u.seq++
	b := make([]byte, 12)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], u.seq)
	_, err := u.rtp.WriteToUDP(append(b, text...), to)
	require.NoError(u.t, err)
}

func (u *ua) hears(text string) {
	u.t.Helper()
	b := make([]byte, 2000)
	n, _, err := u.rtp.ReadFromUDP(b)
	require.NoError(u.t, err)
	require.Equal(u.t, text, string(b[12:n]))
}

// TestKamailioDrivesTheDaemon: a whole call of phones that give addresses nobody can reach.
func TestKamailioDrivesTheDaemon(t *testing.T) {
	control := start(t, "-listen", "udp:127.0.0.1:0", "-interface", "lo=127.0.0.1", "-ports", "26000-26999")[0]
	alice, bob := newUA(t), newUA(t)
	proxy := startKamailio(t, control, bob.sip.LocalAddr())
	var err error
	alice.proxy, err = net.ResolveUDPAddr("udp", proxy)
	require.NoError(t, err)
	asker, err := net.Dial("udp", control.String())
	require.NoError(t, err)
	defer func() { _ = asker.Close() }()

	alice.target = "sip:bob@127.0.0.1"
	invite := alice.request("INVITE", 1, "", "", alice.sdp())
	var received string
	for range 300 { // Kamailio may not listen yet
		alice.send(invite)
		require.NoError(t, bob.sip.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		b := make([]byte, 65536)
		if n, from, err := bob.sip.ReadFromUDP(b); err == nil {
			received, bob.proxy = string(b[:n]), from
			break
		}
	}
	require.NoError(t, bob.sip.SetReadDeadline(time.Now().Add(30*time.Second)))
	require.True(t, strings.HasPrefix(received, "INVITE"), "no INVITE came through")
	require.Contains(t, received, "a=nortpproxy:yes")
	bobSends := media(t, received)
	bob.reply(received, "183 Session Progress", bob.sdp())
	early := media(t, alice.await("SIP/2.0 183"))
	bob.reply(received, "200 OK", bob.sdp())
	ok := alice.await("SIP/2.0 200")
	aliceSends := media(t, ok)
	require.Equal(t, early, aliceSends, "one session for 183 and 200")
	alice.target = "sip:bob@" + bob.sip.LocalAddr().String() // the Contact
	route := "Route: " + regexp.MustCompile(`Record-Route: (\S+)`).FindStringSubmatch(ok)[1] + "\r\n"
	alice.send(alice.request("ACK", 1, ";tag=b", route, ""))

	bob.say(bobSends, "hello alice")
	alice.hears("hello alice")
	alice.say(aliceSends, "hello bob")
	bob.hears("hello bob")
	require.Regexp(t, `^q1 \d+ 1 1 2 0\n$`, ask(t, asker, "q1 Q whole-call a;1 b;1"))

	alice.send(alice.request("INVITE", 2, ";tag=b", route, alice.sdp()))
	for !strings.Contains(received, "CSeq: 2 INVITE") { // copies of the first may still come
		received = bob.await("INVITE")
	}
	require.Equal(t, bobSends, media(t, received), "a re-INVITE keeps the ports")
	bob.reply(received, "200 OK", bob.sdp())
	for ok = alice.await("SIP/2.0 200"); !strings.Contains(ok, "CSeq: 2 "); {
		ok = alice.await("SIP/2.0 200")
	}
	require.Equal(t, aliceSends, media(t, ok))
	alice.send(alice.request("ACK", 2, ";tag=b", route, ""))

	alice.send(alice.request("BYE", 3, ";tag=b", route, ""))
	bob.reply(bob.await("BYE"), "200 OK", "")
	for !strings.Contains(alice.await("SIP/2.0 200"), "BYE") {
		continue
	}
	require.Equal(t, "q2 E50\n", ask(t, asker, "q2 Q whole-call a;1 b;1"))
	require.Equal(t, "g 1 1\n", ask(t, asker, "g G nsess_created nsess_complete"))
}
