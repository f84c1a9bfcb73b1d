package target

import (
	"bytes"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// parseTiming adds the stages of a Server-Timing header (W3C Server Timing; durations in milliseconds)
// to t. Decode takes Vitrine's decode and preprocess together; names that are not known are passed over.
func parseTiming(b []byte, t *record.ServerTiming) {
	for len(b) > 0 {
		var one []byte
		one, b, _ = bytes.Cut(b, []byte(","))
		name, params, _ := bytes.Cut(one, []byte(";"))
		to := stage(bytes.TrimSpace(name), t)
		if to == nil {
			continue
		}
		for len(params) > 0 {
			var p []byte
			p, params, _ = bytes.Cut(params, []byte(";"))
			key, value, _ := bytes.Cut(p, []byte("="))
			if fold(bytes.TrimSpace(key), "dur") {
				*to += milliseconds(bytes.Trim(bytes.TrimSpace(value), `"`))
			}
		}
	}
}

// stage is where a name's duration belongs; nil is nowhere.
func stage(name []byte, t *record.ServerTiming) *time.Duration {
	switch {
	case fold(name, "total"):
		return &t.Total
	case fold(name, "decode"), fold(name, "preprocess"):
		return &t.Decode
	case fold(name, "queue"):
		return &t.Queue
	case fold(name, "input"):
		return &t.Input
	case fold(name, "compute"), fold(name, "inference"):
		return &t.Compute
	case fold(name, "output"):
		return &t.Output
	}
	return nil
}

// milliseconds reads a decimal number without an exponent, exact to the nanosecond; anything else is 0.
func milliseconds(b []byte) time.Duration {
	const day = 24 * time.Hour
	ns, unit, fraction := time.Duration(0), time.Millisecond, false
	for _, c := range b {
		switch {
		case c == '.' && !fraction:
			fraction = true
		case c < '0' || c > '9':
			return 0
		case fraction:
			unit /= 10
			ns += time.Duration(c-'0') * unit
		default:
			if ns = 10*ns + time.Duration(c-'0')*time.Millisecond; ns > day {
				return 0
			}
		}
	}
	return ns
}
