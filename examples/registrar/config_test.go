package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "a")
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("text\n"), 0o600))
	for _, test := range []struct {
		args  string
		wrong []string // what the error names; none: no mistake
	}{
		{args: ""},
		{args: "-listen udp:127.0.0.1:5060 -listen tcp:127.0.0.1:5060"},
		{args: "-listen udp:10.0.0.5:5060=203.0.113.5:5060 -domain example.com -domain example.org -store memory"},
		{args: "-cert " + cert + " -key " + key},
		{args: "-listen tls:127.0.0.1:5061 -cert " + cert + " -key " + key},
		{args: "-store redis://127.0.0.1:6379/0 -voicemail 192.0.2.3 -gateway 192.0.2.2:5060;transport=tcp -trusted 192.0.2.0/24"},
		{args: "-voicemail sip:vm@192.0.2.3 -rtpproxy udp:127.0.0.1:7722 -rtpengine udp:127.0.0.1:2223 -media always -record " + dir},
		{args: "-media-one-sided 45s -media-failure pass"},
		{args: "-media-one-sided -1s -media-failure shrug", wrong: []string{"-media-one-sided -1s is negative", `-media-failure "shrug"`}},
		{args: "-media-one-sided 45s -rtpproxy udp:127.0.0.1:7722", wrong: []string{"-media-one-sided is for the relay in this process"}},
		{args: "-listen carrier:127.0.0.1:5060", wrong: []string{"carrier"}},
		{args: "-listen tls:127.0.0.1:5061", wrong: []string{"needs -cert"}},
		{args: "-listen udp:127.0.0.1:5060 -cert " + cert, wrong: []string{"belong together", "no -listen tls:"}},
		{args: "-cert " + text + " -key " + text, wrong: []string{"-cert: "}},
		{args: "-domain not/a/name -trusted x", wrong: []string{`"not/a/name" is not a host name`, "x"}},
		{args: "-store paper", wrong: []string{`-store "paper"`}},
		{args: "-store redis://127.0.0.1/x", wrong: []string{"-store: "}},
		{args: "-data " + text, wrong: []string{"is not a directory"}},
		{args: "-key-file " + text, wrong: []string{"-key-file: "}},
		{args: "-users " + text + " -numbers " + text, wrong: []string{"-users: ", text + ":1", "-numbers: "}},
		{args: "-users /nowhere -numbers /nowhere", wrong: []string{"-users: ", "-numbers: "}},
		{args: "-voicemail a@b -gateway a@b", wrong: []string{"-voicemail: ", "-gateway: "}},
		{args: "-media sometimes -redirects maybe -runner x", wrong: []string{"-media", "-redirects", "-runner"}},
		{args: "-rtpproxy here -moh /nowhere/music -record /nowhere", wrong: []string{`"here"`, "-record"}},
		{args: "-moh /nowhere/music", wrong: []string{"-moh"}},
		{args: "-service-route sip:192.0.2.7;lr -service-route <sips:edge.example.com:5061;lr> -flow-timer 120s"},
		{args: "-ring -1s -keepalive -1s -flow-timer -1s", wrong: []string{"-ring", "-keepalive", "-flow-timer -1s is negative"}},
		{args: "-flow-timer 1500ms", wrong: []string{"whole seconds"}},
		{args: "-flow-timer 3m", wrong: []string{"closed after 3m0s"}},
		{args: "-service-route 192.0.2.7 -service-route tel:+33 -service-route sip:192.0.2.7 -service-route sip:192.0.2.7;lr?a=b -flow-timer often",
			wrong: []string{`-service-route "192.0.2.7": `, `"tel:+33" is no SIP URI`, `"sip:192.0.2.7" has no ;lr`, `"sip:192.0.2.7;lr?a=b" is no SIP URI`, "-flow-timer"}},
		{args: "-check extra", wrong: []string{`"extra"`}},
		{args: "-ring soon -nothing 7 extra -media sometimes -keepalive x -v=perhaps -trusted y", wrong: []string{"-ring", "-nothing", `"extra"`, "-media", "-keepalive", "-v", "-trusted"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			args := strings.Fields(test.args)
			if !strings.Contains(test.args, "-data") {
				args = append([]string{"-data", filepath.Join(dir, "none")}, args...)
			}
			var out bytes.Buffer
			err := run(append([]string{"-check"}, args...), &out)
			if test.wrong == nil {
				require.NoError(t, err)
				require.Equal(t, "no mistake found\n", out.String())
				require.NoDirExists(t, filepath.Join(dir, "none"), "a check makes nothing")
				return
			}
			for _, w := range test.wrong {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	require.ErrorIs(t, run([]string{"-help"}, os.Stdout), flag.ErrHelp)
}

// Every mistake in a file of numbers is named with its line.
func TestNumbersFile(t *testing.T) {
	gateway := sip.MustParseURI("sip:192.0.2.2")
	name := file(t, "alias a\nalias a b\nspeed a 22\nspeed a 22 b\nprefix 12x\nprefix 12 strip=3\nprefix 12 gateway=a@b\nprefix 12 why\nwhat\n")
	_, err := readNumbers(name, office, gateway)
	for _, line := range []string{":1:", ":3:", ":5:", ":6:", ":7:", ":8:", ":9:"} {
		require.ErrorContains(t, err, name+line)
	}
	require.NotContains(t, err.Error(), ":2:")
	require.NotContains(t, err.Error(), ":4:")

	_, err = readNumbers(file(t, "prefix 12"), office, sip.URI{})
	require.ErrorContains(t, err, "no gateway")
	_, err = readNumbers(file(t, "prefix 12 deny"), office, sip.URI{})
	require.NoError(t, err)
}

// Secrets are made once and kept.
func TestKeys(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deep", "keys")
	made, err := readKeys(name)
	require.NoError(t, err)
	again, err := readKeys(name)
	require.NoError(t, err)
	require.Equal(t, made, again)
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	two := file(t, "# new\n"+strings.Repeat("ab", 16)+"\n"+strings.Repeat("cd", 32)+"\n")
	keys, err := readKeys(two)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	_, err = readKeys(file(t, "abcd\n"))
	require.ErrorContains(t, err, "32 hexadecimal digits")
	_, err = readKeys(file(t, "\n"))
	require.ErrorContains(t, err, "no key")
}

// certificate writes a self-signed certificate for 127.0.0.1 and its key; baresip wants both in one file, which NAME.pem is.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{office},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	require.NoError(t, os.WriteFile(cert, c, 0o600))
	require.NoError(t, os.WriteFile(key, k, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".pem"), append(c, k...), 0o600))
	return cert, key
}
