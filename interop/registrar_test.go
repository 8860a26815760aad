package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An office is a running examples/registrar with a trace of its messages.
type office struct {
	*process
	t    *testing.T
	dir  string // its journal, keys, users
	args []string
	ns   namespace
	addr map[string]string // by transport
}

// openOffice starts the registrar at an address, on UDP, TCP and TLS.
func openOffice(t *testing.T, ns namespace, host string, args ...string) *office {
	t.Helper()
	dir := t.TempDir()
	var users strings.Builder
	for _, u := range []string{"alice", "bob", "carol"} {
		fmt.Fprintf(&users, "%s:%s:%x\n", u, domain, md5.Sum([]byte(u+":"+domain+":"+password(u))))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users"), []byte(users.String()), 0o600))
	certificate(t, dir, host)
	o := &office{t: t, dir: dir, ns: ns}
	o.args = []string{"-domain", domain, "-users", filepath.Join(dir, "users"), "-data", filepath.Join(dir, "data"), "-trace", "-drain", "100ms",
		"-cert", filepath.Join(dir, "cert.pem"), "-key", filepath.Join(dir, "key.pem")}
	for _, proto := range []string{"udp", "tcp", "tls"} {
		o.args = append(o.args, "-listen", proto+":"+net.JoinHostPort(host, "0"))
	}
	o.args = append(o.args, args...)
	o.start()
	return o
}

func (o *office) start() {
	o.t.Helper()
	name, args := o.ns.command(registrarProgram, o.args...)
	o.process = launch(o.t, name, args...)
	o.addr = make(map[string]string)
	for _, a := range o.args {
		if a != "-listen" {
			continue
		}
		proto, addr, _ := strings.Cut(o.await("listening on "), ":")
		if strings.HasPrefix(addr, "[") {
			proto += "6"
		}
		o.addr[proto] = addr
	}
}

// restart starts it again at the ports it had.
func (o *office) restart() {
	o.t.Helper()
	for i, a := range o.args {
		if proto, rest, ok := strings.Cut(a, ":"); ok && i > 0 && o.args[i-1] == "-listen" && strings.HasSuffix(rest, ":0") {
			o.args[i] = proto + ":" + o.addr[proto]
		}
	}
	o.start()
}

// phone starts a phone of a user there.
func (o *office) phone(c phoneConfig) *phone {
	o.t.Helper()
	return startPhone(o.t, o.where(c))
}

// where fills in where the server is.
func (o *office) where(c phoneConfig) phoneConfig {
	if c.transport == "" {
		c.transport = "udp"
	}
	if c.transport == "tls" {
		c.ca = filepath.Join(o.dir, "cert.pem")
	}
	if strings.Contains(c.addr, ":") {
		c.server = o.addr[c.transport+"6"]
		return c
	}
	c.server = o.addr[c.transport]
	return c
}

// certificate makes one for an address, signed by itself.
func certificate(t *testing.T, dir, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{domain}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}
