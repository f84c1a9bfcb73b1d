// Package scrape reads servers' metrics in Prometheus' text format and keeps their names: Triton's and
// Vitrine's nv_*, dcgm-exporter's DCGM_*, a process's own.
package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Limits of what is read.
const (
	maxBytes  = 16 << 20
	maxSeries = 100_000
)

var errSeries = fmt.Errorf("more than %d series", maxSeries)

// Parse reads the text exposition format, version 0.0.4, and OpenMetrics' as far as it is the same.
// Comments and time stamps are passed over. Values may be infinite or not numbers; they are left out,
// since a record's JSON has no words for them.
func Parse(text []byte) ([]record.Value, error) {
	var values []record.Value
	for n := 1; len(text) > 0; n++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		v, err := parseLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if v.Value-v.Value != 0 { // NaN and infinities
			continue
		}
		if len(values) == maxSeries {
			return nil, errSeries
		}
		values = append(values, v)
	}
	return values, nil
}

// parseLine reads name{label="value",...} value [time].
func parseLine(s string) (v record.Value, err error) {
	end := strings.IndexAny(s, "{ \t")
	if end <= 0 || !isName(s[:end]) {
		return v, errors.New("no metric's name")
	}
	v.Name, s = s[:end], s[end:]
	if s[0] == '{' {
		if v.Labels, s, err = parseLabels(s[1:]); err != nil {
			return v, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return v, fmt.Errorf("%s: no value", v.Name)
	}
	if v.Value, err = strconv.ParseFloat(fields[0], 64); err != nil && !errors.Is(err, strconv.ErrRange) {
		return v, fmt.Errorf("%s: %q is no number", v.Name, fields[0])
	}
	return v, nil
}

// isName tells [a-zA-Z_:][a-zA-Z0-9_:]*.
func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == ':'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// parseLabels reads what stands behind the opening brace, and returns what stands behind the closing one.
func parseLabels(s string) (labels map[string]string, rest string, err error) {
	for {
		s = strings.TrimLeft(s, " \t")
		if strings.HasPrefix(s, "}") {
			return labels, s[1:], nil
		}
		name, after, ok := strings.Cut(s, "=")
		name = strings.TrimSpace(name)
		if !ok || !isName(name) {
			return nil, "", errors.New("malformed labels")
		}
		value, after, err := quoted(strings.TrimLeft(after, " \t"))
		if err != nil {
			return nil, "", err
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name] = value
		s = strings.TrimLeft(after, " \t")
		switch {
		case strings.HasPrefix(s, ","):
			s = s[1:]
		case !strings.HasPrefix(s, "}"):
			return nil, "", errors.New("malformed labels")
		}
	}
}

// quoted reads a label's value, in which \\, \" and \n are escapes.
func quoted(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errors.New("a label's value is not quoted")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a label's value does not end")
}
