package main

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
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

// peerSerial tells the certificate of a server from others.
func peerSerial(t *testing.T, addr string) string {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
