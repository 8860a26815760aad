package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// certificate writes a self-signed certificate for the names and adds it to pool.
func certificate(t testing.TB, c *Certificates, pool *x509.CertPool, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), // the virtual clock starts in 2000
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool.AddCert(cert)
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}), 0o600))
	require.NoError(t, c.Reload())
}

func certificates(t testing.TB) *Certificates {
	dir := t.TempDir()
	return &Certificates{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
}

func tlsSend(t *testing.T, l *Layer, to Addr) (Flow, *sinkRecorder) {
	t.Helper()
	f, err := l.FlowTo(to, Flow{})
	require.NoError(t, err)
	s := newSink()
	require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/TLS c.example.com;branch=z9hG4bK1", 1)), s))
	return f, s
}

func TestTLS(t *testing.T) {
	files, pool := certificates(t), x509.NewCertPool()
	certificate(t, files, pool, "127.0.0.1", "sip.example.com")
	server, rs := layer(t, Config{TLS: &tls.Config{GetCertificate: files.GetCertificate}}, "tls:127.0.0.1:0")
	client, rc := layer(t, Config{TLS: &tls.Config{RootCAs: pool}}, "udp:127.0.0.1:0")
	at := server.Addrs()[0]

	for _, name := range []string{"", "sip.example.com"} {
		to := at
		to.Name = name
		f, _ := tlsSend(t, client, to)
		in := rs.next(t)
		require.Equal(t, TLS, in.f.Proto())
		require.NoError(t, in.f.SendRaw([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS c\r\nContent-Length: 0\r\n\r\n"), nil))
		got := rc.next(t)
		require.Equal(t, f, got.f)
		require.Equal(t, name, f.Remote().Name)
		require.Equal(t, client.Addrs()[0].AddrPort, f.Local().AddrPort, "without a listener of its own: under another's address")
		require.True(t, client.IsLocal("127.0.0.1", f.Local().AddrPort.Port(), TLS))
	}

	other := at
	other.Name = "other.example.com"
	f, s := tlsSend(t, client, other)
	var wrong *tls.CertificateVerificationError
	require.ErrorAs(t, receive(t, s.errs), &wrong)
	require.False(t, f.Alive())
	require.EqualValues(t, 1, client.Stats().HandshakeFailed)

	// The new certificate is for another name; open connections live on.
	certificate(t, files, pool, "other.example.com")
	_, _ = tlsSend(t, client, other)
	rs.next(t)
	to := at
	to.Name = "sip.example.com"
	_, _ = tlsSend(t, client, to)
	rs.next(t)
	require.EqualValues(t, 1, client.Stats().HandshakeFailed)
	require.EqualValues(t, 3, client.Stats().ConnsOpen)
}

func TestTLSLargeAndMany(t *testing.T) {
	files, pool := certificates(t), x509.NewCertPool()
	certificate(t, files, pool, "127.0.0.1")
	server, rs := layer(t, Config{TLS: &tls.Config{GetCertificate: files.GetCertificate}}, "tls:127.0.0.1:0")
	client, _ := layer(t, Config{QueueBytes: 4 << 20, TLS: &tls.Config{RootCAs: pool}})
	f, err := client.FlowTo(server.Addrs()[0], Flow{})
	require.NoError(t, err)
	for i := range 200 {
		q := mustRequest(t, options("SIP/2.0/TLS c.example.com;branch=z9hG4bK1", i))
		q.SetBody("text/plain", string(make([]byte, 10000)))
		require.NoError(t, f.Send(q, nil))
	}
	for i := range 200 {
		require.Equal(t, fmt.Sprintf("call-%d", i), rs.next(t).request().CallID())
	}
}

func TestTLSMutual(t *testing.T) {
	files, pool := certificates(t), x509.NewCertPool()
	certificate(t, files, pool, "127.0.0.1")
	server, rs := layer(t, Config{TLS: &tls.Config{GetCertificate: files.GetCertificate, ClientCAs: pool, ClientAuth: tls.RequireAnyClientCert}}, "tls:127.0.0.1:0")
	client, _ := layer(t, Config{TLS: &tls.Config{RootCAs: pool, GetClientCertificate: files.GetClientCertificate}})
	_, _ = tlsSend(t, client, server.Addrs()[0])
	rs.next(t)
	bare, _ := layer(t, Config{TLS: &tls.Config{RootCAs: pool}})
	_, s := tlsSend(t, bare, server.Addrs()[0])
	require.Error(t, receive(t, s.errs))
}

func TestTLSHandshakeTakesTooLong(t *testing.T) {
	files, pool := certificates(t), x509.NewCertPool()
	certificate(t, files, pool, "10.0.0.1")
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		l, _ := layer(t, Config{Net: n, TLS: &tls.Config{GetCertificate: files.GetCertificate}}, "tls:10.0.0.1:5060")
		c := n.dial(t, "10.0.0.3")
		write(t, c, "\x16")
		time.Sleep(5*time.Second - time.Millisecond)
		require.EqualValues(t, 1, l.Stats().ConnsOpen)
		time.Sleep(2 * time.Millisecond)
		require.Zero(t, l.Stats().ConnsOpen)
		require.EqualValues(t, 1, l.Stats().HandshakeFailed)
		require.NoError(t, l.Close())
	})
}

func TestCertificatesKeepTheOldOne(t *testing.T) {
	files := certificates(t)
	_, err := files.GetCertificate(nil)
	require.Error(t, err)
	certificate(t, files, x509.NewCertPool(), "a")
	before, err := files.GetCertificate(nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files.CertFile, []byte("rubbish"), 0o600))
	require.Error(t, files.Reload())
	after, err := files.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestListenAllOrNone(t *testing.T) {
	for spec, want := range map[string]error{
		"tls:127.0.0.1:0":            errNoCertificate,
		"ws:127.0.0.1:0":             ErrNotSupported,
		"wss:127.0.0.1:0":            ErrNotSupported,
		"sctp:127.0.0.1:0":           ErrNotSupported,
		"udp:example.com:5060":       errBadAddr,
		"udp:127.0.0.1:0=bad host:1": errBadAddr,
		"udp:127.0.0.1:99999":        errBadAddr,
		"udp:192.0.2.77:5060":        nil, // not ours: the system's error
	} {
		l := New(Config{Handler: newRecorder()})
		err := l.Listen(context.Background(), "udp:127.0.0.1:0", spec)
		require.Error(t, err, spec)
		require.Contains(t, err.Error(), spec)
		if want != nil {
			require.ErrorIs(t, err, want, spec)
		}
		require.Empty(t, l.Addrs())
		require.NoError(t, l.Close())
	}
}
