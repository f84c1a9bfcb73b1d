package host

import (
	"context"
	"encoding/csv"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// smiTimeout is generous: the first call loads the driver.
const smiTimeout = 10 * time.Second

// readGPUs asks the driver's library, which takes milliseconds, or where it cannot be loaded nvidia-smi, which
// takes a second. A machine without them, or one whose driver does not answer, has no cards.
func readGPUs() []record.GPU {
	n, err := gpu.Open()
	if err != nil {
		return askSMI()
	}
	return describe(n)
}

// describe is a machine's cards for the record.
func describe(s gpu.Source) (gpus []record.GPU) {
	for i, c := range s.Cards() {
		g := record.GPU{Index: c.Index, Name: c.Name, UUID: c.UUID, Driver: c.Driver}
		if r, err := s.Read(i); err == nil {
			g.Memory, g.PowerLimit = r.MemoryTotal, max(r.PowerLimit, 0)
		}
		gpus = append(gpus, g)
	}
	return gpus
}

func askSMI() []record.GPU {
	ctx, cancel := context.WithTimeout(context.Background(), smiTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi",
		"--query-gpu=index,name,uuid,driver_version,memory.total,power.limit", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil
	}
	return parseGPUs(string(out))
}

// parseGPUs reads nvidia-smi's lines. A field that a card does not have is "[N/A]" or the like; memory is
// in MiB, power in watts.
func parseGPUs(text string) (gpus []record.GPU) {
	r := csv.NewReader(strings.NewReader(text))
	r.TrimLeadingSpace = true
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return nil
	}
	for _, row := range rows {
		if len(row) != 6 {
			continue
		}
		index, err := strconv.Atoi(row[0])
		if err != nil {
			continue
		}
		gpus = append(gpus, record.GPU{
			Index: index, Name: known(row[1]), UUID: known(row[2]), Driver: known(row[3]),
			Memory: int64(number(row[4]) * (1 << 20)), PowerLimit: number(row[5]),
		})
	}
	return gpus
}

func known(field string) string {
	if strings.HasPrefix(field, "[") {
		return ""
	}
	return field
}

func number(field string) float64 {
	v, err := strconv.ParseFloat(field, 64)
	if err != nil {
		return 0
	}
	return v
}
