package telemetry

import (
	"context"
	"log/slog"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Record is one request as fronts report it, to metrics and to the access log.
type Record struct {
	ID       string // request id
	Trace    Trace  // zero if the client sent none
	Protocol string // "http", "grpc"
	Method   string // HTTP method; empty for gRPC
	Route    string // the route's pattern, never the client's path: it labels metrics
	Code     int    // HTTP status or gRPC code
	Model    string
	Items    int
	BytesIn  int64
	BytesOut int64
	Remote   string // the client's address
	Key      string // the name of the client's API key, never the key
	Err      error  // the request's failure, nil if it was answered
	Timeline Timeline
}

// AccessLog writes a request's line: at level info, the client's mistakes included, at warn where the server
// could not take the request, at error where the fault is the server's. The kind of the fault decides, not
// the code: protocols have codes of internal errors for mistakes of clients.
func AccessLog(l *slog.Logger, r *Record) {
	ctx := context.Background()
	level := r.level()
	if !l.Enabled(ctx, level) {
		return
	}
	var buf [24]slog.Attr
	attrs := append(buf[:0],
		slog.String("id", r.ID),
		slog.String("protocol", r.Protocol),
		slog.String("route", r.Route),
		slog.Int("code", r.Code),
		slog.Float64("ms", milliseconds(r.Timeline.Total())),
		slog.Int64("bytes_in", r.BytesIn),
		slog.Int64("bytes_out", r.BytesOut),
	)
	attrs = r.appendOptional(attrs)
	attrs = r.appendStages(attrs)
	l.LogAttrs(ctx, level, "request", attrs...)
}

func (r *Record) level() slog.Level {
	if r.Err == nil {
		return slog.LevelInfo
	}
	switch fault.KindOf(r.Err) {
	case fault.Internal:
		return slog.LevelError
	case fault.Exhausted, fault.Unavailable, fault.Timeout:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// appendOptional adds what not every request has.
func (r *Record) appendOptional(a []slog.Attr) []slog.Attr {
	for _, s := range [...]struct{ key, value string }{
		{"method", r.Method}, {"model", r.Model}, {"remote", r.Remote}, {"key", r.Key},
	} {
		if s.value != "" {
			a = append(a, slog.String(s.key, s.value))
		}
	}
	if !r.Trace.IsZero() {
		a = append(a, slog.String("trace_id", r.Trace.TraceID()))
	}
	if r.Items > 0 {
		a = append(a, slog.Int("items", r.Items))
	}
	if r.Err != nil {
		a = append(a, slog.String("fault", fault.KindOf(r.Err).String()), slog.String("error", r.Err.Error()))
	}
	return a
}

// appendStages adds the durations of a request that was computed, in milliseconds.
func (r *Record) appendStages(a []slog.Attr) []slog.Attr {
	if r.Timeline.BatchSize == 0 {
		return a
	}
	s := r.Timeline.Stages()
	return append(a,
		slog.Int("batch", r.Timeline.BatchSize),
		slog.Float64("decode_ms", milliseconds(r.Timeline.Decode)),
		slog.Float64("preprocess_ms", milliseconds(r.Timeline.Preprocess)),
		slog.Float64("queue_ms", milliseconds(s.Queue)),
		slog.Float64("compute_ms", milliseconds(s.Input+s.Compute+s.Output)),
		slog.Float64("encode_ms", milliseconds(s.Encode)),
	)
}
