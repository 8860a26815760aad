package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

var errNoCertificate = errors.New("no TLS certificate configured")

// Certificates is a certificate and key in PEM files that can be replaced while connections are served. Give its
// methods to tls.Config as GetCertificate and GetClientCertificate, and call Reload before Listen and whenever the files changed.
type Certificates struct {
	CertFile, KeyFile string

	current atomic.Pointer[tls.Certificate]
}

// Reload reads the files. On an error the certificate in use stays.
func (c *Certificates) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("transport: certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// GetCertificate is for servers.
func (c *Certificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.certificate()
}

// GetClientCertificate is for clients.
func (c *Certificates) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.certificate()
}

func (c *Certificates) certificate() (*tls.Certificate, error) {
	if cert := c.current.Load(); cert != nil {
		return cert, nil
	}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c.current.Load(), nil
}
