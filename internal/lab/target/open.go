package target

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// DialFunc opens a connection, as (*net.Dialer).DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Options say what is measured and how it is reached.
type Options struct {
	Name   string
	URL    string // http, https, grpc or grpcs; gRPC formats take http and https too
	Format string
	Model  string // its name on the server; formats of the Open Inference Protocol need it
	// Version of the model; empty is the server's choice.
	Version string
	// Timeout of one request, connecting included; 0 is 30 seconds.
	Timeout time.Duration
	// Headers go with every request.
	Headers map[string]string
	// TLS is used for https and grpcs; nil verifies the server as browsers do.
	TLS *tls.Config
	// NewConnection opens one for each request and counts that as the request's time.
	NewConnection bool
	// Dialer replaces the network, for example by a link; nil is TCP.
	Dialer DialFunc
	// Engine is what InProcess measures. The target does not close it.
	Engine engine.Engine
	// Staged leaves out bringing the input to where the engine computes, which must be an engine.Stager. No
	// more connections can be opened then than its runs may overlap.
	Staged bool
}

const defaultTimeout = 30 * time.Second

// Open returns a target. It does no input and output: the server is asked by Prepare (for the model's
// inputs, where the format needs them), Dial and Describe.
func Open(_ context.Context, o Options) (Target, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Format == InProcess {
		return newInProcess(o)
	}
	if o.Dialer == nil {
		o.Dialer = new(net.Dialer).DialContext
	}
	s, err := newSite(o)
	if err != nil {
		return nil, err
	}
	switch o.Format {
	case EmbedBase64, EmbedRaw, EmbedBatch, OpenAI:
		return &httpTarget{site: s}, nil
	case OIPJSON, OIPBinary, OIPBinaryU8, OIPRaw, OIPGRPC, OIPGRPCImage:
		if o.Model == "" {
			return nil, fmt.Errorf("target %s: format %s needs the model's name", o.Name, o.Format)
		}
	default:
		return nil, fmt.Errorf("target %s: unknown format %q", o.Name, o.Format)
	}
	if o.Format == OIPGRPC || o.Format == OIPGRPCImage {
		return newGRPC(s), nil
	}
	return &httpTarget{site: s}, nil
}

// site is a server's address and how it is reached.
type site struct {
	Options
	address string // host:port
	host    string // as the Host header has it
	path    string // before the API's own, no slash at its end
	secure  bool
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "grpc": "8001", "grpcs": "443"}

func newSite(o Options) (*site, error) {
	text := o.URL
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", o.Name, err)
	}
	port, known := defaultPorts[u.Scheme]
	if !known || u.Hostname() == "" {
		return nil, fmt.Errorf("target %s: %q is no URL of a server such as http://127.0.0.1:8000", o.Name, o.URL)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return &site{Options: o, address: net.JoinHostPort(u.Hostname(), port), host: u.Host,
		path: strings.TrimRight(u.Path, "/"), secure: u.Scheme == "https" || u.Scheme == "grpcs"}, nil
}

// connect opens a connection, with TLS where the scheme asks for it.
func (s *site) connect(ctx context.Context) (net.Conn, error) {
	nc, err := s.Dialer(ctx, "tcp", s.address)
	if err != nil || !s.secure {
		return nc, err
	}
	t := tls.Client(nc, s.tlsConfig("http/1.1"))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close() // the handshake's error says more
		return nil, err
	}
	return t, nil
}

func (s *site) tlsConfig(protocol string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.TLS != nil {
		c = s.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(s.address)
	}
	c.NextProtos = []string{protocol}
	return c
}
