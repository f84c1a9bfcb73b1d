// Package host reads the machine that figures depend on, for a record's manifest. Names of machines are
// left out.
package host

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Read describes this machine. What cannot be read is left empty.
func Read() record.Host {
	h := readLinux(os.DirFS("/"))
	if h.OS == "" {
		h.OS = runtime.GOOS
	}
	// Go's own count honours the affinity mask and the quota of the control group.
	h.Cores = runtime.GOMAXPROCS(0)
	h.GPUs = readGPUs()
	return h
}

// readLinux reads what Linux says of itself under root.
func readLinux(root fs.FS) record.Host {
	cpu := readPairs(root, "proc/cpuinfo", ":")
	flags := strings.Fields(cpu["flags"] + " " + cpu["Features"]) // x86 and arm64
	return record.Host{
		OS:       strings.Trim(readPairs(root, "etc/os-release", "=")["PRETTY_NAME"], `"`),
		Kernel:   readText(root, "proc/sys/kernel/osrelease"),
		CPU:      processor(cpu),
		Features: featuresOf(flags),
		Memory:   memory(root),
	}
}

// processor is the name on the chip. arm64 has only numbers: implementer and part, as in ARM's main ID
// register.
func processor(cpu map[string]string) string {
	if name := cpu["model name"]; name != "" {
		return name
	}
	if part := cpu["CPU part"]; part != "" {
		return "implementer " + cpu["CPU implementer"] + " part " + part
	}
	return ""
}

// features that kernels of this program or of those that it is measured against choose by, under Linux'
// names.
var features = []string{
	"avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
	"amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme",
}

func featuresOf(flags []string) (have []string) {
	for _, f := range features {
		if slices.Contains(flags, f) {
			have = append(have, f)
		}
	}
	return have
}

// memory is what the program may use: the machine's, or the limit of the control group (version 2, then 1)
// if that is lower.
func memory(root fs.FS) int64 {
	total := kilobytes(readPairs(root, "proc/meminfo", ":")["MemTotal"])
	for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		limit, err := strconv.ParseInt(readText(root, name), 10, 64)
		if err == nil && limit > 0 && limit < total {
			return limit
		}
	}
	return total
}

// kilobytes reads "24605892 kB" in bytes.
func kilobytes(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

func readText(root fs.FS, name string) string {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// readPairs reads lines of a key, a separator and a value; the first line with a key counts, as all
// processors of a machine are taken to be alike.
func readPairs(root fs.FS, name, separator string) map[string]string {
	pairs := map[string]string{}
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return pairs
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), separator)
		key = strings.TrimSpace(key)
		if _, seen := pairs[key]; ok && !seen {
			pairs[key] = strings.TrimSpace(value)
		}
	}
	return pairs
}
