package main

import (
	"strings"
	"testing"
)

// TestServeValuesThatAreRefused before a model is opened: there is none where --model points.
func TestServeValuesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"preferred-batch-size", "4,5000", "sizes from 1 to --max-batch-size, which is at most 4096"},
		{"preferred-batch-size", "0", "sizes from 1 to"},
		{"max-queue-delay", "-1s", "no negative time"},
		{"timeout", "-1ms", "no negative time"},
		{"max-body", "0", "at least a byte"},
		{"body-memory", "1MiB", "at least --max-body, which is 67108864"},
		{"grpc-max-message-size", "0", "at least a byte"},
		{"grpc-message-memory", "1MiB", "at least --grpc-max-message-size, which is 67108864"},
		{"body-timeout", "0s", "a time above 0"},
		{"request-timeout", "-1s", "a time above 0"},
		{"drain-delay", "-1s", "no negative time"},
		{"drain-timeout", "-1s", "no negative time"},
	} {
		r := launch(t, "--model", "/nowhere", "--"+c.flag+"="+c.value)
		r.exit(exitUsage)
		if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, "--"+c.flag+": want "+c.want) {
			t.Errorf("--%s=%s: %s", c.flag, c.value, log)
		}
	}
}

// TestPreferredSizesBeyondTheEngine are known once the engine is.
func TestPreferredSizesBeyondTheEngine(t *testing.T) {
	call(t, "serve", "--engine", "null", "--preferred-batch-size", "4,64", "--http", "127.0.0.1:0", "--grpc", "off", "--metrics", "off").
		want(t, exitUsage, "--preferred-batch-size: want sizes from 1 to --max-batch-size, which engine null puts at 32")
}
