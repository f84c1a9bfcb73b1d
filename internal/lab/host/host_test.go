package host

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

func files(pairs map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range pairs {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestReadLinux(t *testing.T) {
	for _, c := range []struct {
		name string
		root map[string]string
		want record.Host
	}{
		{"x86 in a container", map[string]string{
			"proc/cpuinfo":              "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C\nflags\t\t: fpu avx2 fma avx512f avx512_bf16 amx_bf16 ht\n\nprocessor\t: 1\nmodel name\t: other\n",
			"proc/meminfo":              "MemTotal:       24605892 kB\nMemFree: 1 kB\n",
			"proc/sys/kernel/osrelease": "6.1.0\n",
			"etc/os-release":            "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
			"sys/fs/cgroup/memory.max":  "8589934592\n",
		}, record.Host{OS: "Debian GNU/Linux 13 (trixie)", Kernel: "6.1.0", CPU: "Intel(R) Xeon(R) Platinum 8481C",
			Features: []string{"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"}, Memory: 8 << 30}},
		{"arm64 without limit", map[string]string{
			"proc/cpuinfo":             "processor\t: 0\nFeatures\t: fp asimd asimddp bf16 i8mm sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n",
			"proc/meminfo":             "MemTotal: 1024 kB\n",
			"sys/fs/cgroup/memory.max": "max\n",
		}, record.Host{CPU: "implementer 0x41 part 0xd4f", Features: []string{"asimd", "asimddp", "bf16", "i8mm", "sve"}, Memory: 1 << 20}},
		{"version 1 without limit", map[string]string{
			"proc/meminfo": "MemTotal: 1024 kB\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, record.Host{Memory: 1 << 20}},
		{"nothing", nil, record.Host{}},
	} {
		if diff := cmp.Diff(c.want, readLinux(files(c.root))); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func TestParseGPUs(t *testing.T) {
	text := "0, NVIDIA GeForce RTX 4080, GPU-aa, 550.54.15, 16376, 320.00\n1, NVIDIA A100-SXM4-80GB, GPU-bb, 550.54.15, 81920, [N/A]\nbroken\n"
	want := []record.GPU{
		{Index: 0, Name: "NVIDIA GeForce RTX 4080", UUID: "GPU-aa", Driver: "550.54.15", Memory: 16376 << 20, PowerLimit: 320},
		{Index: 1, Name: "NVIDIA A100-SXM4-80GB", UUID: "GPU-bb", Driver: "550.54.15", Memory: 81920 << 20},
	}
	if diff := cmp.Diff(want, parseGPUs(text)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestReadAsksNvidiaSMI puts a program of that name first on the path.
func TestReadAsksNvidiaSMI(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	if _, err := gpu.Open(); err == nil {
		t.Skip("the driver is asked first, and there is one")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in *index,name,uuid,driver_version,memory.total,power.limit*) echo '3, Card, GPU-x, 1.2, 10, 70';; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	h := Read()
	want := []record.GPU{{Index: 3, Name: "Card", UUID: "GPU-x", Driver: "1.2", Memory: 10 << 20, PowerLimit: 70}}
	if diff := cmp.Diff(want, h.GPUs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if h.Cores != runtime.GOMAXPROCS(0) || h.OS == "" {
		t.Errorf("%+v", h)
	}
	t.Setenv("PATH", t.TempDir())
	if got := Read().GPUs; got != nil {
		t.Errorf("without nvidia-smi: %+v", got)
	}
}

// cards are two; the second is lost.
type cards struct{}

func (cards) Cards() []gpu.Card {
	return []gpu.Card{{Index: 0, Name: "H100", UUID: "GPU-a", Driver: "580"}, {Index: 1, Name: "L4", UUID: "GPU-b", Driver: "580"}}
}

func (cards) Read(i int) (gpu.Reading, error) {
	if i == 1 {
		return gpu.Reading{}, errors.New("lost")
	}
	return gpu.Reading{MemoryTotal: 80 << 30, PowerLimit: 700}, nil
}

func TestDescribe(t *testing.T) {
	want := []record.GPU{{Index: 0, Name: "H100", UUID: "GPU-a", Driver: "580", Memory: 80 << 30, PowerLimit: 700}, {Index: 1, Name: "L4", UUID: "GPU-b", Driver: "580"}}
	if diff := cmp.Diff(want, describe(cards{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
