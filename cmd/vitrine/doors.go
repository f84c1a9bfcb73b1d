package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/vitrine-project/vitrine/internal/cli"
	frontdoor "github.com/vitrine-project/vitrine/internal/front/door"
)

// doorFlags say who comes in.
type doorFlags struct {
	tls            frontdoor.TLSFiles
	keys           string
	protectMetrics bool
	http, grpc     restrictions
}

func (d *doorFlags) define(fs *pflag.FlagSet) {
	d.http.all, d.grpc.all = frontdoor.Restrictions{}, frontdoor.Restrictions{}
	cli.Group(fs, "Doors (the files are read again when they change, and on SIGHUP)", func(fs *pflag.FlagSet) {
		fs.StringVar(&d.keys, "api-keys", "", "`FILE` of API keys, one a line: name:key, or name:sha256:HEX of the key. "+
			"Clients send Authorization: Bearer KEY or X-API-Key: KEY, over gRPC too; only liveness and readiness need none")
		fs.StringVar(&d.tls.Cert, "tls-cert", "", "`FILE` of the certificate, with those between it and its authority, in PEM; HTTP and gRPC then speak TLS only")
		fs.StringVar(&d.tls.Key, "tls-key", "", "`FILE` of the certificate's private key")
		fs.StringVar(&d.tls.ClientCA, "tls-client-ca", "", "`FILE` of authorities; clients must then show a certificate of one of them")
		fs.BoolVar(&d.protectMetrics, "protect-metrics", false, "ask for keys and speak TLS on the metrics address too")
		fs.Var(&d.http, "http-restricted-api", "`GROUPS:HEADER=VALUE`: requests of these groups, separated by commas, need the header, as in Triton. "+
			"Groups are health, metadata, inference, shared-memory, model-config, model-repository, statistics, trace, logging. May be given several times")
		fs.Var(&d.grpc, "grpc-restricted-protocol", "`GROUPS:HEADER=VALUE`: the same over gRPC, where the header is triton-grpc-protocol-HEADER")
	})
}

// restrictions is a flag that may be given several times, or hold several values, separated by spaces or,
// as a list of the configuration file is, by commas.
type restrictions struct {
	all  frontdoor.Restrictions
	text []string
}

// String implements pflag.Value.
func (r *restrictions) String() string { return strings.Join(r.text, " ") }

// Set implements pflag.Value.
func (r *restrictions) Set(s string) error {
	for _, one := range strings.Fields(frontdoor.SplitList(s)) {
		if err := r.all.Add(one); err != nil {
			return err
		}
		r.text = append(r.text, one)
	}
	return nil
}

// Type is the placeholder in help.
func (r *restrictions) Type() string { return "restriction" }

// doors are what the server's addresses ask of who comes.
type doors struct {
	guard   *frontdoor.Guard
	watcher *frontdoor.Watcher
	tls     *tls.Config // nil speaks none
	metrics bool        // the metrics address asks for the same
	files   bool        // there is something to read again
}

// newDoors reads the files; what is wrong with them is an error of the start.
func newDoors(d *doorFlags, log *slog.Logger) (*doors, error) {
	s := &doors{guard: frontdoor.NewGuard(d.http.all, d.grpc.all), watcher: frontdoor.NewWatcher(log), metrics: d.protectMetrics,
		files: d.keys != "" || d.tls.Cert != ""}
	switch {
	case (d.tls.Cert == "") != (d.tls.Key == ""):
		return nil, cli.Usage{Err: errors.New("--tls-cert and --tls-key go together")}
	case d.tls.ClientCA != "" && d.tls.Cert == "":
		return nil, cli.Usage{Err: errors.New("--tls-client-ca needs --tls-cert and --tls-key: only TLS asks clients for certificates")}
	case d.protectMetrics && !s.files:
		return nil, cli.Usage{Err: errors.New("--protect-metrics needs --api-keys or --tls-cert: there would be nothing to protect with")}
	}
	if d.keys != "" {
		if err := s.watcher.Keys(d.keys, s.guard); err != nil {
			return nil, fmt.Errorf("--api-keys: %w", err)
		}
	}
	if d.tls.Cert == "" {
		return s, nil
	}
	var err error
	if s.tls, err = s.watcher.TLS(d.tls); err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return s, nil
}

// metricsTLS is the TLS of the metrics address.
func (d *doors) metricsTLS() *tls.Config {
	if d.metrics {
		return d.tls
	}
	return nil
}

// metricsGuard is what the metrics address asks for keys.
func (d *doors) metricsGuard() *frontdoor.Guard {
	if d.metrics {
		return d.guard
	}
	return nil
}

// curl is what curl needs to be let in.
func (d *doorFlags) curl() string {
	if d.keys == "" {
		return ""
	}
	return " -H 'Authorization: Bearer KEY'"
}

// grpcOptions are gRPC's TLS, if there is any.
func (d *doors) grpcOptions() []grpc.ServerOption {
	if d.tls == nil {
		return nil
	}
	// Under TLS a connection keeps its read buffer, and one read gives no more than a record, 16 KiB.
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(d.tls)), grpc.ReadBufferSize(32 << 10)}
}

// reloadInterval is how often the files are looked at.
const reloadInterval = 2 * time.Second

// watch reads files again until ctx ends.
func (d *doors) watch(ctx context.Context) {
	if !d.files {
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	tick := time.NewTicker(reloadInterval)
	go func() {
		defer tick.Stop()
		defer signal.Stop(hangup)
		d.watcher.Watch(ctx, tick.C, hangup)
	}()
}

// warnOpen says once that strangers can reach a server that asks them for nothing, or that keys travel
// in clear.
func (o *serveOptions) warnOpen(log *slog.Logger) {
	if loopbackOnly(o.http, o.grpc.address) {
		return
	}
	d := &o.door
	switch {
	case d.keys == "" && d.tls.Cert == "":
		log.Warn("open to everybody who reaches this machine, in clear: --api-keys and --tls-cert change that")
	case d.keys == "" && d.tls.ClientCA == "":
		log.Warn("open to everybody who reaches this machine: --api-keys or --tls-client-ca change that")
	case d.tls.Cert == "":
		log.Warn("API keys travel in clear beyond this machine: --tls-cert changes that, or a proxy that ends TLS")
	}
}
