package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden help texts")

const actAsVitrine = "VITRINE_TEST_ACT_AS_VITRINE"

// TestMain lets the test binary be the program itself, for tests that need a process to signal.
func TestMain(m *testing.M) {
	if os.Getenv(actAsVitrine) == "1" {
		main()
	}
	if err := os.Setenv("VITRINE_GRPC", "off"); err != nil { // its default port may be taken; a test that wants the door says where
		panic(err)
	}
	os.Exit(m.Run())
}

// vitrine is the program as a process of its own.
func vitrine(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), actAsVitrine+"=1")
	return c
}

// result is what a command printed and how it ended.
type result struct {
	code     int
	out, err string
}

// call runs a command line in this process.
func call(t *testing.T, args ...string) result {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "stream")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	code := run(t.Context(), args, streams{files[0], files[1]})
	var text [2]string
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return result{code, text[0], text[1]}
}

func (r result) want(t *testing.T, code int, inErr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.err, inErr) {
		t.Fatalf("exit code %d, want %d with %q in:\n%s", r.code, code, inErr, r.err)
	}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"vitrine": nil, "serve": {"serve"}, "embed": {"embed"}, "model": {"model"}, "model-pull": {"model", "pull"},
		"bench": {"bench"}, "bench-single": {"bench", "single"}, "bench-rate": {"bench", "rate"}, "bench-serialization": {"bench", "serialization"},
		"bench-scaling": {"bench", "scaling"}, "bench-profile": {"bench", "profile"}, "bench-study": {"bench", "study"},
		"model-calibrate": {"model", "calibrate"}, "doctor": {"doctor"}, "profile": {"profile"}, "report": {"report"}, "compare": {"compare"}, "link": {"link"},
		"model-inspect": {"model", "inspect"}, "model-export": {"model", "export"}, "version": {"version"},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, append(args, "--help")...)
			if r.code != exitOK || r.err != "" {
				t.Fatalf("exit code %d, %s", r.code, r.err)
			}
			for line := range strings.Lines(r.out) {
				if len(line) > 106 {
					t.Errorf("too long for a terminal: %s", line)
				}
			}
			path := filepath.Join("testdata", "help", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(r.out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), r.out); diff != "" {
				t.Errorf("go test ./cmd/vitrine -update accepts:\n%s", diff)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "v.yaml")
	if err := os.WriteFile(config, []byte("version: 1\nengine: null\nmax-bach-size: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"frobnicate"}, `unknown command "frobnicate"`},
		{[]string{"serve", "--no-such-flag"}, "unknown flag: --no-such-flag"},
		{[]string{"serve", "leftover"}, "leftover"},
		{[]string{"serve", "--engine", "gpu"}, "want one of auto, cuda, cpu, onnxruntime,"},
		{[]string{"serve", "--max-batch-size", "-1"}, "want a whole number from 0 to 4096"},
		{[]string{"serve", "--http", "off"}, "nothing to serve"},
		{[]string{"serve", "--http", "nonsense"}, "--http nonsense"},
		{[]string{"serve", "--config", config}, "v.yaml:3: unknown key \"max-bach-size\" (did you mean \"max-batch-size\"?)"},
		{[]string{"serve", "--config", filepath.Join(dir, "none.yaml")}, "none.yaml"},
		{[]string{"embed", "x.jpg"}, "--output is missing"},
		{[]string{"embed", "x.jpg", "--output", "x.txt"}, "must end in .npy, .jsonl or .parquet"},
		{[]string{"embed", "--output", "x.npy"}, "no images"},
		{[]string{"embed", filepath.Join(dir, "*.jpg"), "--output", "x.npy"}, "nothing matches"},
		{[]string{"embed", dir, "--output", "x.npy"}, "no .jpg"},
		{[]string{"model", "export", "synthetic"}, "--output is missing"},
		{[]string{"model", "pull", "synthetic"}, "not downloaded"},
		{[]string{"model", "inspect", "a", "b"}, "at most 1"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) { call(t, c.args...).want(t, exitUsage, c.want) })
	}
}

func TestAVariableOfTheWrongKindIsAUsageError(t *testing.T) {
	t.Setenv("VITRINE_MAX_QUEUE_DELAY", "soon")
	call(t, "serve").want(t, exitUsage, `VITRINE_MAX_QUEUE_DELAY: invalid value "soon"`)
}

func TestCompletionOffersValues(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--engine", ""}, "auto\ncuda\ncpu\nonnxruntime\nonnxruntime:cpu\n"},
		{[]string{"embed", "--precision", ""}, "auto\nfp32\nbf16\nfp16\n"},
		{[]string{"model", "inspect", "synthetic:ViT-L"}, "synthetic:ViT-L-14\n"},
		{[]string{"serve", "--model", ""}, "synthetic\n"},
	} {
		if r := call(t, append([]string{"__complete"}, c.args...)...); !strings.Contains(r.out, c.want) {
			t.Errorf("%q: got\n%s", c.args, r.out)
		}
	}
	if r := call(t, "completion", "bash"); r.code != exitOK || !strings.Contains(r.out, "__start_vitrine") {
		t.Errorf("no script: exit code %d", r.code)
	}
}

func TestVersion(t *testing.T) {
	if r := call(t, "version"); r.code != exitOK || !strings.HasPrefix(r.out, "vitrine ") || !strings.Contains(r.out, "kernels") {
		t.Errorf("%+v", r)
	}
	if r := call(t, "version", "--json"); r.code != exitOK || !bytes.Contains([]byte(r.out), []byte(`"cpu_level"`)) {
		t.Errorf("%+v", r)
	}
}
