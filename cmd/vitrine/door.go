package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/front"
)

// closedDoor is an address that is not listened on.
const closedDoor = "off"

// door is one address and what answers there. It is open from the first moment, so that a probe gets
// an answer while the model loads; what answers is exchanged when the model is there.
type door struct {
	listener net.Listener
	server   *http.Server
	handler  atomic.Pointer[http.Handler]
	failed   chan error
	tls      bool
}

// openDoor listens on an address; nil where the address is "off". flag names it in errors.
func openDoor(flag, address string, o front.ServerOptions) (*door, error) {
	if address == closedDoor {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s: the port is taken: another program listens there; choose another, or port 0 for any that is free", flag, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s %s: the system does not allow this port: %w", flag, address, err)
	case err != nil:
		return nil, cli.Usage{Err: fmt.Errorf("%s %s: %w", flag, address, err)}
	}
	d := &door{listener: l, failed: make(chan error, 1), tls: o.TLS != nil}
	d.set(http.NotFoundHandler())
	d.server = front.NewServer(http.HandlerFunc(d.serve), o)
	return d, nil
}

func (d *door) serve(w http.ResponseWriter, r *http.Request) { (*d.handler.Load()).ServeHTTP(w, r) }

// set exchanges what answers; requests under way keep what they have.
func (d *door) set(h http.Handler) { d.handler.Store(&h) }

// start answers until shutdown; an error of the listener goes to failed.
func (d *door) start() {
	if d == nil {
		return
	}
	go func() {
		if err := d.answer(); !errors.Is(err, http.ErrServerClosed) {
			d.failed <- err
		}
	}()
}

func (d *door) answer() error {
	if d.tls {
		return d.server.ServeTLS(d.listener, "", "") // the configuration has the certificate
	}
	return d.server.Serve(d.listener)
}

// failure reports a listener that broke; never for a door that is off.
func (d *door) failure() <-chan error {
	if d == nil {
		return nil
	}
	return d.failed
}

// shutdown stops accepting and waits until what was accepted is answered, or ctx ends; then it hangs up.
func (d *door) shutdown(ctx context.Context) error {
	if d == nil {
		return nil
	}
	if err := d.server.Shutdown(ctx); err != nil {
		return errors.Join(err, d.server.Close())
	}
	return nil
}

// url is how a program on this machine reaches the door.
func (d *door) url() string {
	scheme := "http://"
	if d.tls {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(d.listener.Addr().String())
	if err != nil {
		return scheme + d.listener.Addr().String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + net.JoinHostPort(host, port)
}

// loopbackOnly tells whether every address can be reached from this machine alone. A name counts only
// if it is localhost: what else it may mean is not asked of the network.
func loopbackOnly(addresses ...string) bool {
	for _, a := range addresses {
		if a == closedDoor {
			continue
		}
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return false
		}
		ip, err := netip.ParseAddr(host)
		if err == nil && !ip.IsLoopback() || err != nil && !strings.EqualFold(host, "localhost") {
			return false
		}
	}
	return true
}
