package telemetry

import (
	"strconv"
	"time"
)

// ServerTiming is the value of a Server-Timing response header (W3C Server Timing): stage names with
// durations in milliseconds. Decode and preprocess are sums over the request's items; total is the
// time from Received to the last stamp before the answer was written.
func (t *Timeline) ServerTiming() string {
	s := t.Stages()
	b := make([]byte, 0, 160)
	for _, e := range [...]struct {
		name string
		d    time.Duration
	}{
		{"receive", s.Receive}, {"decode", t.Decode}, {"preprocess", t.Preprocess},
		{"queue", s.Queue}, {"input", s.Input}, {"compute", s.Compute}, {"output", s.Output},
		{"total", t.Total()},
	} {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(b, e.name...)
		b = append(b, ";dur="...)
		b = strconv.AppendFloat(b, milliseconds(e.d), 'f', 3, 64)
	}
	return string(b)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
