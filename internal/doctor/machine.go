package doctor

import (
	"io/fs"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// Processor is what kernels are chosen by.
type Processor struct {
	Name     string   `json:"name,omitempty"`
	Cores    int      `json:"cores"` // that this process may use
	Level    string   `json:"level"` // of kernels that the machine can run
	Selected string   `json:"selected"`
	Problem  string   `json:"problem,omitempty"` // of the level that is forced
	Features []string `json:"features,omitempty"`
	AMX      string   `json:"amx"` // absent, permitted, refused
}

// Levels fills in the levels and the permission to use AMX.
func (p *Processor) Levels() {
	p.Level = cpufeat.Machine().String()
	selected, err := cpufeat.Selected()
	p.Selected = selected.String()
	if err != nil {
		p.Problem = err.Error()
	}
	p.AMX = amx(strings.Join(p.Features, " "))
}

// amx tells whether the processor has AMX and the system lets this process use it.
func amx(features string) string {
	if !strings.Contains(features, "amx_tile") {
		return "absent"
	}
	if err := requestTiles(); err != nil {
		return "refused: " + err.Error()
	}
	return "permitted"
}

// Memory is in bytes; 0 is unknown, and for the limit none.
type Memory struct {
	Total     int64 `json:"total_bytes"`
	Available int64 `json:"available_bytes"`
	Limit     int64 `json:"limit_bytes"` // of the control group
	Swap      int64 `json:"swap_bytes"`
}

// ReadMemory reads what Linux says under root.
func ReadMemory(root fs.FS) Memory {
	text, _ := fs.ReadFile(root, "proc/meminfo") // what is not there is unknown
	m := Memory{Total: kilobytes(string(text), "MemTotal:"), Available: kilobytes(string(text), "MemAvailable:"), Swap: kilobytes(string(text), "SwapTotal:")}
	for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < 1<<60 {
			m.Limit = n
		}
		break
	}
	return m
}

func kilobytes(meminfo, key string) int64 {
	for line := range strings.Lines(meminfo) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 53)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
