package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/client"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// selfSigned writes a certificate of localhost and its key, and returns what trusts it.
func selfSigned(t *testing.T, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, roots = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(text)
	if err := errors.Join(os.WriteFile(cert, text, 0o600), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key, roots
}

// guarded starts a server with TLS and one key, and returns it with its certificate.
func guarded(t *testing.T) (r *running, cert string, web *http.Client) {
	t.Helper()
	dir := t.TempDir()
	cert, key, roots := selfSigned(t, dir)
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("alice:alice-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = start(t, "--engine", "null", "--grpc", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--api-keys", keys, "--protect-metrics")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return r, cert, &http.Client{Transport: transport}
}

// TestServeGuarded is the Go client through TLS and a key, the metrics address, and what the log tells.
func TestServeGuarded(t *testing.T) {
	r, _, web := guarded(t)
	for path, want := range map[string]int{r.url + "/healthz": 200, r.url + "/v2/health/live": 200, r.url + "/model-info": 401, r.url + "/": 401,
		r.url + "/nothing": 401, r.metrics: 401, strings.TrimSuffix(r.metrics, "/metrics") + "/readyz": 200} {
		response, err := web.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want || response.ProtoMajor != 2 {
			t.Errorf("%s: %d over HTTP/%d, want %d", path, response.StatusCode, response.ProtoMajor, want)
		}
	}
	image := [][]byte{photo(t, "chelsea.png")}
	for key, want := range map[string]int{"alice-secret": 0, "other-secret": 401} {
		c, err := client.New(r.url, client.WithHTTPClient(web), client.WithHeader("Authorization", "Bearer "+key))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Embed(t.Context(), image)
		var refused *client.Error
		if (want == 0) != (err == nil) || want != 0 && (!errors.As(err, &refused) || refused.Status != want) {
			t.Errorf("%q: %v, want %d", key, err, want)
		}
	}
	web.CloseIdleConnections()
	r.signal()
	r.exit(exitOK)
	if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, "key=alice") || strings.Contains(log, "-secret") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestOfficialClientsGuarded is testdata/doors.py. VITRINE_PYTHON names a Python that has the clients.
func TestOfficialClientsGuarded(t *testing.T) {
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		t.Skip("VITRINE_PYTHON names no Python")
	}
	r, cert, _ := guarded(t)
	grpcAddress := ""
	for _, line := range r.out {
		if rest, ok := strings.CutPrefix(line, "gRPC on "); ok {
			grpcAddress = rest
		}
	}
	for what, modules := range map[string]string{"triton": "tritonclient.http, tritonclient.grpc", "openai": "openai, httpx, PIL"} {
		if out, err := exec.Command(python, "-c", "import "+modules).CombinedOutput(); err != nil {
			t.Logf("VITRINE_PYTHON has no %s: %s", modules, out)
			continue
		}
		if out, err := exec.CommandContext(t.Context(), python, "testdata/doors.py", what, strings.TrimPrefix(r.url, "https://"), grpcAddress, cert, "alice-secret").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	r.signal()
	r.exit(exitOK)
}

// TestServeReload exchanges the keys of a running server.
func TestServeReload(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alice:alice-secret\n")
	r := start(t, "--engine", "null", "--api-keys", keys)
	write("bob:bob-secret-1\n")
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.waitFor("API keys: read again")
	for key, want := range map[string]int{"alice-secret": 401, "bob-secret-1": 200} {
		request, err := http.NewRequest("GET", r.url+"/v2", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", key, response.StatusCode, want)
		}
	}
	r.signal()
	r.exit(exitOK)
}

func TestDoorErrors(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := selfSigned(t, dir)
	for _, c := range []struct {
		flags doorFlags
		want  string
	}{
		{doorFlags{keys: filepath.Join(dir, "none")}, "--api-keys: open"},
		{doorFlags{keys: cert}, "--api-keys: " + cert + ": line 1: want name:key"},
		{func() (d doorFlags) { d.tls.Cert = cert; return }(), "--tls-cert and --tls-key go together"},
		{func() (d doorFlags) { d.tls.ClientCA = cert; return }(), "--tls-client-ca needs --tls-cert"},
		{doorFlags{protectMetrics: true}, "--protect-metrics needs"},
		{func() (d doorFlags) { d.tls.Cert, d.tls.Key = key, cert; return }(), "--tls-cert: certificate"},
	} {
		if _, err := newDoors(&c.flags, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestWarnOpen(t *testing.T) {
	for _, c := range []struct {
		o    serveOptions
		want string
	}{
		{serveOptions{http: "127.0.0.1:1", grpc: grpcFlags{address: "localhost:2"}}, ""},
		{serveOptions{http: "0.0.0.0:1", grpc: grpcFlags{address: "off"}}, "in clear: --api-keys and --tls-cert"},
		{serveOptions{http: "127.0.0.1:1", grpc: grpcFlags{address: ":2"}}, "in clear: --api-keys and --tls-cert"},
		{serveOptions{http: ":1", grpc: grpcFlags{address: "off"}, door: doorFlags{keys: "k"}}, "keys travel in clear"},
	} {
		var b strings.Builder
		c.o.warnOpen(slog.New(slog.NewTextHandler(&b, nil)))
		if (c.want == "") != (b.Len() == 0) || !strings.Contains(b.String(), c.want) || strings.Count(b.String(), "\n") > 1 {
			t.Errorf("%q, want %q", b.String(), c.want)
		}
	}
}

// TestServeLogSettings changes what a running server writes, over the protocol.
func TestServeLogSettings(t *testing.T) {
	r := start(t, "--engine", "null", "--log-level", "warn")
	settings := func(body string) (l oip.Log) {
		t.Helper()
		status, _, answer := do(t, "POST", r.url+"/v2/logging", strings.NewReader(body))
		if err := json.Unmarshal(answer, &l); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		return l
	}
	if l := settings("{}"); l.Info || !l.Warning || !l.Error || l.VerboseLevel != 0 {
		t.Errorf("--log-level warn is %+v", l)
	}
	do(t, "GET", r.url+"/v2/models/quiet", nil)
	settings(`{"log_info":true}`)
	do(t, "GET", r.url+"/v2/models/loud", nil)
	settings(`{"log_info":false}`)
	do(t, "GET", r.url+"/v2/models/hushed", nil)
	r.signal()
	r.exit(exitOK)
	if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, "'loud'") || strings.Contains(log, "'quiet'") || strings.Contains(log, "'hushed'") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestLogSwitch(t *testing.T) {
	for level, want := range map[string]string{"debug": "dbg inf wrn err ", "info": "inf wrn err ", "warn": "wrn err ", "error": "err "} {
		log, _ := (&logFlags{format: "text", level: level}).switchable(io.Discard)
		got := ""
		for _, l := range []struct {
			level slog.Level
			name  string
		}{{slog.LevelDebug, "dbg "}, {slog.LevelInfo, "inf "}, {slog.LevelWarn, "wrn "}, {slog.LevelError, "err "}} {
			if log.With("a", 1).WithGroup("g").Enabled(t.Context(), l.level) {
				got += l.name
			}
		}
		if got != want {
			t.Errorf("%s writes %s, want %s", level, got, want)
		}
	}
	var b strings.Builder
	log, by := (&logFlags{format: "json", level: "info"}).switchable(&b)
	by.set(oip.Log{VerboseLevel: 2, Error: false})
	log.Debug("one")
	log.Error("two")
	if !strings.Contains(b.String(), `"one"`) || strings.Contains(b.String(), `"two"`) {
		t.Errorf("%s", b.String())
	}
}
