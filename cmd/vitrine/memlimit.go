package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// limitMemory tells Go's collector how much memory the container has, less a tenth for what is not on
// Go's heap (the weights' mapped file, libraries), so that it works harder before the kernel kills.
// GOMEMLIMIT, where it is set, stands. It returns the limit, 0 if there is none.
func limitMemory() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(-1)
	}
	limit := cgroupLimit("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
	if limit > 0 {
		limit -= limit / 10
		debug.SetMemoryLimit(limit)
	}
	return limit
}

// cgroupLimit is the first limit in bytes that a file holds: control groups version 2, then 1. "max",
// and a number near the largest, mean that there is none.
func cgroupLimit(paths ...string) int64 {
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < 1<<60 {
			return n
		}
		return 0
	}
	return 0
}

// machineMemory is nine tenths of the machine's memory in bytes, 0 where the file does not tell.
func machineMemory(meminfo string) int64 {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil || kib < 0 || kib > 1<<50 {
				return 0
			}
			return kib * 1024 / 10 * 9
		}
	}
	return 0
}

// pinnedMemory is how much a GPU's engine may pin where the flag does not say: nothing, so the engine's own default, or
// a quarter of all memory where that is less.
func pinnedMemory(given cli.Bytes, memory int64) cli.Bytes {
	const usual = 1 << 30
	if given > 0 || memory <= 0 || memory/4 >= usual {
		return given
	}
	return cli.Bytes(memory / 4)
}
