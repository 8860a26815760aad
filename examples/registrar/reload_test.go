package main

import (
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sipproxy/auth"
)

// Users and numbers change while the server runs; files with mistakes change nothing.
func TestReload(t *testing.T) {
	c := settings()
	c.users = filepath.Join(t.TempDir(), "users")
	c.numbers = filepath.Join(t.TempDir(), "numbers")
	write := func(file, text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	line := func(name string) string {
		return name + ":" + office + ":" + auth.Password(office, name, "secret of "+name).MD5 + "\n"
	}
	first := func() { write(c.users, line("alice")); write(c.numbers, "alias 100 alice\n") }
	first()
	scenario(t, c, func(x *exchange) {
		defer first() // for the next run
		alice, bob := x.registered("alice", "192.0.2.1"), x.user("bob", "192.0.2.2")
		x.register(bob).Expect(401)

		write(c.users, line("alice")+line("bob"))
		write(c.numbers, "alias 200 alice\n")
		require.NoError(x, x.p.reload())
		x.register(bob).Expect(200)
		bob.Invite(x, at("100")).Expect(404)
		x.talk(bob.Call(x, at("200")), alice.Incoming(x))

		write(c.users, "no users\n")
		write(c.numbers, "alias\n")
		err := x.p.reload()
		require.ErrorContains(x, err, c.users)
		require.ErrorContains(x, err, c.numbers+":1")
		x.register(bob).Expect(200)
		x.talk(bob.Call(x, at("200")), alice.Incoming(x))
	})
}

// The service manager is told, SIGHUP reloads certificates too, SIGTERM ends the server well.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = manager.Close() })
	told := func() string {
		b := make([]byte, 100)
		require.NoError(t, manager.SetReadDeadline(time.Now().Add(20*time.Second)))
		n, err := manager.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", name)
	cert, key := certificate(t, dir, "a")
	p, addr := start(t, "-listen", "udp:127.0.0.1:0", "-listen", "tls:127.0.0.1:0", "-cert", cert, "-key", key, "-data", filepath.Join(dir, "data"))
	require.Equal(t, "READY=1", told())
	was := peerSerial(t, addr[1])

	certificate(t, dir, "a")
	require.NoError(t, syscall.Kill(p.cmd.Process.Pid, syscall.SIGHUP))
	require.Equal(t, "RELOADING=1", told())
	require.Equal(t, "READY=1", told())
	require.NotEqual(t, was, peerSerial(t, addr[1]))

	require.NoError(t, os.WriteFile(cert, []byte("broken"), 0o600))
	is := peerSerial(t, addr[1])
	require.NoError(t, syscall.Kill(p.cmd.Process.Pid, syscall.SIGHUP))
	require.Equal(t, "RELOADING=1", told())
	require.Equal(t, "READY=1", told())
	p.await("reloaded in part", 1)
	require.Equal(t, is, peerSerial(t, addr[1]))

	p.stop()
	require.Equal(t, "STOPPING=1", told())
	require.True(t, p.cmd.ProcessState.Success())
}

// A service manager that watches hears from the server twice in the time it gives, until it ends, draining included.
func TestWatchdog(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = manager.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "200000")
	p, _ := start(t, "-listen", "udp:127.0.0.1:0", "-data", filepath.Join(dir, "data"))
	told := map[string]int{}
	for told["WATCHDOG=1"] < 5 || told["READY=1"] == 0 {
		b := make([]byte, 100)
		require.NoError(t, manager.SetReadDeadline(time.Now().Add(20*time.Second)))
		n, err := manager.Read(b)
		require.NoError(t, err)
		told[string(b[:n])]++
	}
	p.stop()
	require.True(t, p.cmd.ProcessState.Success())
}

func TestWatchdogLimit(t *testing.T) {
	for _, x := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"30000000", "", 30 * time.Second}, {"30000000", "7", 30 * time.Second}, {"30000000", "8", 0}, {"x", "", 0}, {"-1", "", 0}, {"0", "", 0}, {"9223372036854775807", "", 0}} {
		env := map[string]string{"WATCHDOG_USEC": x.usec, "WATCHDOG_PID": x.pid}
		got, ok := watchdogLimit(func(name string) string { return env[name] }, 7)
		require.Equal(t, x.want, got, "%+v", x)
		require.Equal(t, x.want != 0, ok)
	}
}

// The unit is one that systemd understands: without a word about it. It names an installed program; here that is this test.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	text, err := os.ReadFile("sipkit-registrar.service")
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "sipkit-registrar.service")
	require.Contains(t, string(text), "/usr/local/bin/sipkit-registrar ")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/sipkit-registrar ", self+" ")), 0o600))
	said, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(said)) {
		require.NotContains(t, line, "sipkit-registrar", "of other units the machine may complain")
	}
	if err != nil {
		t.Skipf("systemd-analyze does not work here: %s: %s", err, said)
	}
}

// peerSerial tells the certificate of a server from others.
func peerSerial(t *testing.T, addr string) string {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
