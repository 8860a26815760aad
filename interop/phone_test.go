package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// domain is where all phones register; they find the server as their outbound proxy.
const domain = "sipkit.test"

// patience bounds every wait for a condition.
const patience = 15 * time.Second

// A phone is a running baresip. It plays a tone of its own and records what it hears.
type phone struct {
	*process
	phoneConfig
	dir    string
	ctrl   net.Conn
	events chan phoneEvent
}

type phoneConfig struct {
	user      string
	hertz     float64
	addr      string // its own
	server    string // host:port, brackets around IPv6
	port      string // where it listens; launchPhone chooses
	control   string // port that it is driven at; launchPhone chooses
	transport string // udp, tcp, tls
	outbound  bool   // RFC 5626
	ca        string // PEM file for tls
	ns        namespace
	account   string // further parameters
	password  string // default: that of its user
}

// phoneEvent is what baresip tells about itself, or an answer to a command.
type phoneEvent struct {
	Type     string `json:"type"`
	Param    string `json:"param"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
}

// phonePorts finds a port for SIP, whose successor baresip takes for TLS, and one to control it, below those that the system gives away.
func phonePorts(t *testing.T) (sip, control string) {
	t.Helper()
	for range 100 {
		n := 30000 + (16*os.Getpid()+4*int(phones.Add(1)))%2000
		if unused(n) && unused(n+1) && unused(n+2) {
			return strconv.Itoa(n), strconv.Itoa(n + 2)
		}
	}
	require.Fail(t, "no ports for a phone")
	return "", ""
}

var phones atomic.Int64

func unused(port int) bool {
	addr := "127.0.0.1:" + strconv.Itoa(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

var loopbacks atomic.Int64

// loopback is an address of this machine that nothing else uses. Phones stay at 127.0.0.1: what they send comes from there.
func loopback() string {
	n := loopbacks.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()>>8&63, os.Getpid()&255, n%250+2)
}

func password(user string) string { return "secret-of-" + user }

func (c *phoneConfig) accountLine() string {
	a := fmt.Sprintf("<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;regint=60;answermode=auto;audio_codecs=PCMU,PCMA",
		c.user, domain, c.transport, c.user, c.password)
	a += fmt.Sprintf(`;outbound="sip:%s;transport=%s"`, c.server, c.transport)
	if c.outbound {
		a += ";sipnat=outbound"
	}
	return a + c.account + "\n"
}

func (c *phoneConfig) config(dir, control string) string {
	modules := "module g711.so\nmodule uuid.so\nmodule aubridge.so\nmodule sndfile.so\nmodule aufile.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n"
	tls := ""
	if c.ca != "" {
		tls = "sip_cafile " + c.ca + "\n"
	}
	return "poll_method epoll\nsip_listen " + net.JoinHostPort(c.addr, c.port) + "\n" + tls +
		"audio_player aubridge,spk\naudio_source aufile," + filepath.Join(dir, "tone.wav") + "\naudio_alert aubridge,al\n" +
		"ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nrtp_ports 32000-32767\n" +
		"net_interface " + c.addr + "\nmodule_path " + baresipModules + "\n" + modules +
		"ctrl_tcp_listen " + control + "\nsnd_path " + dir + "\n"
}

const baresipModules = "/usr/lib/baresip/modules"

// startPhone waits until the phone is registered. It can be before the control connection is there to tell.
func startPhone(t *testing.T, c phoneConfig) *phone {
	t.Helper()
	p := launchPhone(t, c)
	poll(t, "registration of "+c.user, func() bool { return p.registrations() > 0 })
	return p
}

// registrations counts the REGISTERs that were accepted.
func (p *phone) registrations() int { return strings.Count(p.output(), " 200 OK () [") }

func launchPhone(t *testing.T, c phoneConfig) *phone {
	t.Helper()
	need(t, "baresip")
	if c.transport == "" {
		c.transport = "udp"
	}
	if c.password == "" {
		c.password = password(c.user)
	}
	c.port, c.control = "5070", "4444"
	if c.ns == "" { // phones share the machine
		c.port, c.control = phonePorts(t)
	}
	dir := t.TempDir()
	control := net.JoinHostPort(c.addr, c.control)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("config", c.config(dir, control))
	write("accounts", c.accountLine())
	write("contacts", "")
	writeTone(t, filepath.Join(dir, "tone.wav"), c.hertz, time.Minute)
	family := "-4"
	if strings.Contains(c.addr, ":") {
		family = "-6"
	}
	name, args := c.ns.command("stdbuf", "-oL", "baresip", family, "-s", "-f", dir)
	p := &phone{process: launch(t, name, args...), phoneConfig: c, dir: dir, events: make(chan phoneEvent, 1000)}
	p.connect(control)
	return p
}

// connect opens the control connection.
func (p *phone) connect(addr string) {
	p.t.Helper()
	poll(p.t, "control connection of "+p.user, func() (ok bool) {
		var err error
		p.ctrl, err = p.ns.dial(addr)
		return err == nil
	})
	p.t.Cleanup(func() { _ = p.ctrl.Close() })
	go p.listen(p.ctrl)
}

// listen reads netstrings: length, colon, text, comma.
func (p *phone) listen(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		var n int
		if _, err := fmt.Fscanf(r, "%d:", &n); err != nil || n < 0 || n > 1<<20 {
			return
		}
		b := make([]byte, n+1)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		var e phoneEvent
		if json.Unmarshal(b[:n], &e) == nil {
			select {
			case p.events <- e:
			default:
			}
		}
	}
}

// wait discards events until one of the type comes.
func (p *phone) wait(kind string) phoneEvent {
	p.t.Helper()
	end := time.After(patience)
	var seen []phoneEvent
	for {
		select {
		case e := <-p.events:
			if e.Type == kind || kind == "" && e.Response {
				return e
			}
			seen = append(seen, e)
		case <-end:
			require.Fail(p.t, "no "+kind+" at "+p.user, "%v", seen)
		}
	}
}

// do gives the phone a command.
func (p *phone) do(command, params string) phoneEvent {
	p.t.Helper()
	b, err := json.Marshal(map[string]string{"command": command, "params": params})
	require.NoError(p.t, err)
	_, err = fmt.Fprintf(p.ctrl, "%d:%s,", len(b), b)
	require.NoError(p.t, err)
	e := p.wait("")
	require.True(p.t, e.OK, "%s %s: %s", command, params, e.Data)
	return e
}

// call rings another phone, which answers by itself, and waits until both have the call.
func (p *phone) call(other *phone) {
	p.t.Helper()
	p.do("dial", "sip:"+other.user+"@"+domain)
	p.wait("CALL_ESTABLISHED")
	other.wait("CALL_ESTABLISHED")
}

// hangup ends the call and waits until the other has noticed.
func (p *phone) hangup(other *phone) {
	p.t.Helper()
	p.do("hangup", "")
	other.wait("CALL_CLOSED")
}

// hears waits until the last half second that the phone recorded is the tone of the other, and says so in the log.
func (p *phone) hears(other *phone) {
	p.t.Helper()
	start := time.Now()
	var hertz, share float64
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s hears %.0f Hz, %.0f%% of what it hears, in %s", p.user, hertz, 100*share, newest(p.dir))
		}
	}()
	poll(p.t, fmt.Sprintf("%.0f Hz of %s at %s", other.hertz, other.user, p.user), func() bool {
		samples := readSound(newest(p.dir), sampleRate/2)
		if samples == nil {
			return false
		}
		hertz, share = pitch(samples)
		return hertz == other.hertz && share > 0.8
	})
	p.t.Logf("%s hears %.0f Hz of %s, %.0f%% of what it hears, after %v", p.user, hertz, other.user, 100*share, time.Since(start).Round(time.Millisecond))
}

// talk: both hear the tone of the other.
func talk(a, b *phone) {
	a.t.Helper()
	a.hears(b)
	b.hears(a)
}

// poll asks until the answer is yes.
func poll(t *testing.T, what string, yes func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !yes() {
		if time.Now().After(end) {
			require.Fail(t, "in vain: "+what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
