// Package link puts a network between a client and a server on one machine: delay, rate, jitter and, if
// asked for, TCP's initial window and slow start.
//
// Not modelled: loss and what follows from it (retransmission, a window that shrinks), reordering, queues
// that overflow, the bytes of TCP and IP headers, acknowledgements' own share of the rate, the handshake of
// TLS beyond the bytes that it really sends. A window restarts after idling, as Linux does it.
package link

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Spec is a network. Zero fields are not modelled.
type Spec struct {
	RTT       time.Duration // half of it each way
	Bandwidth float64       // bits a second, in each direction, shared by all connections
	Jitter    time.Duration // added to each way's delay, uniformly between 0 and this, never reordering
	Window    int           // initial window in segments of 1,460 bytes; it grows by slow start
}

// segment is the payload of an Ethernet frame's TCP segment.
const segment = 1460

// ParseSpec reads "rtt=40ms,bw=100mbit,jitter=5ms,window=10"; any part may be left out, "" and "none" are
// no network.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	if text == "" || text == "none" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if err := s.set(key, value); err != nil {
			return Spec{}, fmt.Errorf("link %q: %w", text, err)
		}
	}
	return s, nil
}

func (s *Spec) set(key, value string) (err error) {
	switch key {
	case "rtt":
		s.RTT, err = duration(value)
	case "jitter":
		s.Jitter, err = duration(value)
	case "bw":
		s.Bandwidth, err = rate(value)
	case "window":
		s.Window, err = strconv.Atoi(value)
		if err == nil && (s.Window < 1 || s.Window > 1<<20) {
			err = fmt.Errorf("a window of %d segments", s.Window)
		}
	default:
		return fmt.Errorf("unknown %q: rtt, bw, jitter and window exist", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && (d < 0 || d > time.Minute) {
		err = fmt.Errorf("%v is not between 0 and a minute", d)
	}
	return d, err
}

// units of a rate are decimal, as networks count.
var units = []struct {
	suffix string
	bits   float64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}}

func rate(text string) (float64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no rate", text)
		}
		if bits := v * u.bits; bits >= 1e3 && bits <= 1e12 && !math.IsNaN(bits) {
			return bits, nil
		}
		return 0, fmt.Errorf("%q is not between 1kbit and 1000gbit", text)
	}
	return 0, fmt.Errorf("%q has no unit: kbit, mbit or gbit", text)
}

// String is the specification in its shortest form, "none" without any.
func (s Spec) String() string {
	var parts []string
	if s.RTT > 0 {
		parts = append(parts, "rtt="+s.RTT.String())
	}
	if s.Bandwidth > 0 {
		parts = append(parts, "bw="+bandwidth(s.Bandwidth))
	}
	if s.Jitter > 0 {
		parts = append(parts, "jitter="+s.Jitter.String())
	}
	if s.Window > 0 {
		parts = append(parts, "window="+strconv.Itoa(s.Window))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}

func bandwidth(bits float64) string {
	for _, u := range units {
		if bits >= u.bits {
			return strconv.FormatFloat(bits/u.bits, 'f', -1, 64) + u.suffix
		}
	}
	return strconv.FormatFloat(bits/1e3, 'f', -1, 64) + "kbit"
}
