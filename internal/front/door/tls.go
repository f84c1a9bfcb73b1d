package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// TLSFiles name what TLS is made of, all in PEM.
type TLSFiles struct {
	Cert     string // the server's certificate, and those between it and its authority
	Key      string // its private key
	ClientCA string // authorities of clients, which then must show a certificate; empty asks for none
}

// protocols are ALPN's, in order of preference; gRPC's clients offer the first alone.
var protocols = []string{"h2", "http/1.1"}

// TLS reads the files and returns a configuration, for HTTP and gRPC, that always answers with what they
// hold now: a new connection sees new files, an old one goes on.
func (w *Watcher) TLS(f TLSFiles) (*tls.Config, error) {
	current := &atomic.Pointer[tls.Config]{}
	paths := []string{f.Cert, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	err := w.add("TLS", func() error {
		c, err := f.read()
		if err != nil {
			return err
		}
		current.Store(c)
		return nil
	}, paths...)
	if err != nil {
		return nil, err
	}
	outer := current.Load().Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }
	return outer, nil
}

// read makes a configuration of the files as they are.
func (f TLSFiles) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: protocols}
	if f.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, err
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", f.ClientCA, errors.New("it holds no certificate in PEM"))
	}
	return c, nil
}
