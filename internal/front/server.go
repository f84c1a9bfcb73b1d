package front

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// ServerOptions are the HTTP server's own limits; a zero field means its default.
type ServerOptions struct {
	Logger            *slog.Logger
	ReadHeaderTimeout time.Duration // 10 s
	IdleTimeout       time.Duration // 2 min
	WriteTimeout      time.Duration // from the end of the header to the end of the answer; 3 min
	MaxHeaderBytes    int           // 64 KiB
	TLS               *tls.Config   // nil speaks none; with it serve by ServeTLS
}

// NewServer returns a server that speaks HTTP/1.1 and HTTP/2, the latter by prior knowledge, or with TLS
// by ALPN. The
// time for a body is the front's to limit (Options.BodyTimeout), since only it knows when one is read.
func NewServer(h http.Handler, o ServerOptions) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: or(o.ReadHeaderTimeout, 10*time.Second),
		IdleTimeout:       or(o.IdleTimeout, 2*time.Minute),
		WriteTimeout:      or(o.WriteTimeout, 3*time.Minute),
		MaxHeaderBytes:    or(o.MaxHeaderBytes, 64<<10),
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(o.TLS != nil)
	s.Protocols.SetUnencryptedHTTP2(o.TLS == nil)
	if o.TLS != nil {
		s.TLSConfig = o.TLS.Clone() // the server adds to it, and another may share it
	}
	if o.Logger != nil {
		s.ErrorLog = slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	}
	return s
}

// Deadline bounds the work on a request by Options.RequestTimeout, counted from its first byte.
func (x *Exchange) Deadline(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithDeadline(r.Context(), x.received.Add(x.front.requestTimeout))
}
