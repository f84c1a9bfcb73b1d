package door

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts a new file in the place of an old one, as editors and orchestrators do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// watching runs a watcher in a bubble of synctest; its functions look at the files once, for a change or
// all of them, and return when that is done.
func watching(t *testing.T, w *Watcher) (tick, demand func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ticks, signals := make(chan time.Time), make(chan os.Signal)
	go w.Watch(ctx, ticks, signals)
	t.Cleanup(cancel)
	return func() { ticks <- time.Now(); synctest.Wait() }, func() { signals <- syscall.SIGHUP; synctest.Wait() }
}

func TestKeysAreReadAgain(t *testing.T) { synctest.Test(t, keysAreReadAgain) }

func keysAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "alice:alice-secret\n")
	var log bytes.Buffer
	w, g := NewWatcher(slog.New(slog.NewTextHandler(&log, nil))), &Guard{}
	if err := w.Keys(path, g); err != nil {
		t.Fatal(err)
	}
	tick, demand := watching(t, w)
	opens := func(secret string) bool {
		name, err := g.Admit(nil, []string{secret})
		return err == nil && name != ""
	}
	tick()
	if !opens("alice-secret") || log.Len() != 0 {
		t.Fatalf("an unchanged file was read again: %s", log.String())
	}
	replace(t, path, "bob:bob-secret-1\n")
	tick()
	if opens("alice-secret") || !opens("bob-secret-1") {
		t.Fatal("a changed file was not read")
	}
	for _, broken := range []string{"bob:\n", ""} {
		log.Reset()
		replace(t, path, broken)
		tick()
		if !opens("bob-secret-1") || strings.Count(log.String(), "stays in force") != 1 {
			t.Errorf("%q: %s", broken, log.String())
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	tick()
	if !opens("bob-secret-1") {
		t.Error("a file that is gone took the keys along")
	}
	write(t, path, "carol:carol-secret\n")
	demand()
	if !opens("carol-secret") {
		t.Error("SIGHUP read nothing")
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log holds a key: %s", log.String())
	}
}

// authority signs certificates for one test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.pem, _, a.key, a.cert = a.issue(t, "authority")
	return a
}

// issue makes a certificate; the first of an authority signs itself.
func (a *authority) issue(t *testing.T, name string) (cert, key string, private *ecdsa.PrivateKey, parsed *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: a.key == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})), private, parsed
}

// handshake returns the name of the server's certificate, the protocol that was agreed on, or why not.
func handshake(t *testing.T, server, client *tls.Config) (name, protocol string, err error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = errors.Join(c.(*tls.Conn).Handshake(), c.Close())
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	err = errors.Join(err, <-served, l.Close())
	if err != nil {
		return "", "", err
	}
	state := c.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol, c.Close()
}

func TestTLSIsReadAgain(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	f := TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	put := func(name string) {
		cert, key, _, _ := a.issue(t, name)
		replace(t, f.Cert, cert)
		replace(t, f.Key, key)
	}
	put("first")
	w := NewWatcher(slog.New(slog.DiscardHandler))
	server, err := w.TLS(f)
	if err != nil {
		t.Fatal(err)
	}
	tick := func() { w.check(false) }
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, offers := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, {"h2"}} {
		if name, protocol, err := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: offers}); err != nil || name != "first" || protocol != offers[0] {
			t.Errorf("%q: %s %s %v", offers, name, protocol, err)
		}
	}
	if _, _, err := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	put("second")
	tick()
	replace(t, f.Key, "broken")
	tick()
	if name, _, err := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil || name != "second" {
		t.Errorf("%s %v, want the second", name, err)
	}
}

func TestMutualTLS(t *testing.T) {
	a, stranger, dir := newAuthority(t), newAuthority(t), t.TempDir()
	f := TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca")}
	cert, key, _, _ := a.issue(t, "server")
	write(t, f.Cert, cert)
	write(t, f.Key, key)
	write(t, f.ClientCA, "nothing")
	w := NewWatcher(slog.New(slog.DiscardHandler))
	if _, err := w.TLS(f); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("%v", err)
	}
	write(t, f.ClientCA, a.pem)
	server, err := w.TLS(f)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, c := range []struct {
		by *authority
		ok bool
	}{{a, true}, {stranger, false}, {nil, false}} {
		client := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		if c.by != nil {
			cert, key, _, _ := c.by.issue(t, "client")
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		if _, _, err := handshake(t, server, client); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.ok, err)
		}
	}
}
