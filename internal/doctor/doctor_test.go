package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestVersionIsInTheFilesName(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/lib/libonnxruntime.so.1.30.0": "1.30.0",
		"/usr/lib/libcuda.so.580.95.05":     "580.95.05",
		"/usr/lib/libwebp.so.7.1.5":         "7.1.5",
		"libcuda.so.1":                      "",
		"libx.so":                           "",
	} {
		if got := version(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestMappedFollowsLinks(t *testing.T) {
	maps := "7f00-7f01 r--p 00000000 fe:00 123    /usr/lib/libcudart.so.12.1\n" +
		"7f02-7f03 rw-p 00000000 00:00 0 \n" +
		"7f04-7f05 r-xp 00000000 fe:00 124    /opt/a folder/libcuda.so.580.95.05\n"
	for name, want := range map[string]string{"libcuda.so.1": "/opt/a folder/libcuda.so.580.95.05", "libnone.so.3": "libnone.so.3"} {
		if got := mapped(strings.NewReader(maps), name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestFindSaysWhatToInstall(t *testing.T) {
	found := Find([]Wanted{
		{Name: "C", For: "everything", Install: "a system", Files: []string{"libnone-such.so", "libc.so.6"}},
		{Name: "none", Install: "apt-get install none", Files: []string{"libnone-such.so.1"}},
	})
	if c := found[0]; !c.Found || !filepath.IsAbs(c.Path) || c.Problem != "" || c.Install != "" {
		t.Errorf("%+v", c)
	}
	if n := found[1]; n.Found || n.Install != "apt-get install none" || !strings.Contains(n.Problem, "libnone-such.so.1") {
		t.Errorf("%+v", n)
	}
}

func TestReadMemory(t *testing.T) {
	root := fstest.MapFS{
		"proc/meminfo":             {Data: []byte("MemTotal:       1000 kB\nMemAvailable:    500 kB\nSwapTotal:       0 kB\n")},
		"sys/fs/cgroup/memory.max": {Data: []byte("524288\n")},
	}
	if diff := cmp.Diff(Memory{Total: 1000 << 10, Available: 500 << 10, Limit: 512 << 10}, ReadMemory(root)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	root["sys/fs/cgroup/memory.max"] = &fstest.MapFile{Data: []byte("max\n")}
	if m := ReadMemory(root); m.Limit != 0 {
		t.Errorf("%+v", m)
	}
	if diff := cmp.Diff(Memory{}, ReadMemory(fstest.MapFS{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestProbePython asks a shell script that is no Python, this machine's Python, and none.
func TestProbePython(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := script("good", `echo '{"path": "/x/python", "version": "3.13.1", "packages": {"torch": "2.15.0+cpu"}}'`)
	if p := ProbePython(t.Context(), good); p.Torch() != "2.15.0+cpu" || p.Version != "3.13.1" || p.Problem != "" || p.Command != good {
		t.Errorf("%+v", p)
	}
	if p := ProbePython(t.Context(), script("bad", "echo oh no >&2; exit 3")); p.Problem != "exit status 3: oh no" || p.Torch() != "" {
		t.Errorf("%+v", p)
	}
	if p := ProbePython(t.Context(), "no-such-python"); p.Problem != "no no-such-python on the path" {
		t.Errorf("%+v", p)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3")
	}
	if p := ProbePython(t.Context(), "python3"); p.Problem != "" || !strings.HasPrefix(p.Version, "3.") {
		t.Errorf("%+v", p)
	}
}

func TestProcessorLevels(t *testing.T) {
	p := Processor{Features: []string{"avx2"}}
	p.Levels()
	if p.Level == "" || p.Selected == "" || p.AMX != "absent" {
		t.Errorf("%+v", p)
	}
	t.Setenv("VITRINE_CPU", "sse9")
	p.Levels()
	if !strings.Contains(p.Problem, "sse9") {
		t.Errorf("%+v", p)
	}
}
