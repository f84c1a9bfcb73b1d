package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type flags struct {
	batch  int
	delay  time.Duration
	engine string
	body   Bytes
	sizes  []int
	rotate bool
	json   bool
}

func testFlags() (*pflag.FlagSet, *flags) {
	v := &flags{body: 16 << 20}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.Var(NewCount(&v.batch, 32, 1, 4096), "max-batch-size", "largest batch")
	fs.DurationVar(&v.delay, "max-queue-delay", 0, "longest wait")
	fs.Var(NewChoice(&v.engine, "auto", "auto", "cpu", "null"), "engine", "engine")
	fs.Var(&v.body, "max-body", "largest body")
	fs.IntSliceVar(&v.sizes, "preferred-batch-size", nil, "sizes")
	fs.BoolVar(&v.rotate, "exif-rotate", false, "rotate")
	fs.BoolVar(&v.json, "json", false, "print JSON")
	TypedOnly(fs, "json")
	return fs, v
}

func bindTest(t *testing.T, args []string, env map[string]string, yaml string) (*flags, error) {
	t.Helper()
	fs, v := testFlags()
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if yaml != "" {
		path = filepath.Join(t.TempDir(), "v.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known := []string{"max-batch-size", "max-queue-delay", "engine", "max-body", "preferred-batch-size", "exif-rotate", "http"}
	b := Binder{
		LookupEnv: func(k string) (string, bool) { s, ok := env[k]; return s, ok },
		Known: func(k string) bool {
			for _, n := range known {
				if n == k {
					return true
				}
			}
			return false
		},
		Flags: known,
	}
	return v, b.Bind(fs, path)
}

func TestPrecedence(t *testing.T) {
	file := "version: 1\nmax-batch-size: 3\n"
	env := map[string]string{"VITRINE_MAX_BATCH_SIZE": "5"}
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		yaml string
		want int
	}{
		{"default", nil, nil, "", 32},
		{"file over default", nil, nil, file, 3},
		{"environment over file", nil, env, file, 5},
		{"flag over environment", []string{"--max-batch-size=7"}, env, file, 7},
		{"flag over file, even with the default's value", []string{"--max-batch-size=32"}, nil, file, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := bindTest(t, c.args, c.env, c.yaml)
			if err != nil || v.batch != c.want {
				t.Errorf("got %d, %v; want %d", v.batch, err, c.want)
			}
		})
	}
}

func TestEveryKindOfValueFromAFile(t *testing.T) {
	v, err := bindTest(t, nil, nil, `
version: 1
max-queue-delay: 2ms
engine: null
max-body: 1MiB
preferred-batch-size: [4, 8]
exif-rotate: true
http: 0.0.0.0:8000   # another command's flag
`)
	if err != nil {
		t.Fatal(err)
	}
	if v.delay != 2*time.Millisecond || v.engine != "null" || v.body != 1<<20 || !v.rotate || len(v.sizes) != 2 || v.sizes[1] != 8 {
		t.Errorf("got %+v", v)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		yaml string
		want string
	}{
		{"unknown key, with its line", nil, "version: 1\n\nmax-bach-size: 3\n", `v.yaml:3: unknown key "max-bach-size" (did you mean "max-batch-size"?)`},
		{"unknown key like nothing", nil, "version: 1\nzzz: 3\n", `v.yaml:2: unknown key "zzz"`},
		{"a typed flag is no key", nil, "version: 1\njson: true\n", `unknown key "json"`},
		{"wrong type", nil, "version: 1\nmax-batch-size: many\n", `v.yaml:2: max-batch-size: invalid value "many": want a whole number from 1 to 4096`},
		{"not a choice", nil, "version: 1\nengine: gpu\n", `invalid value "gpu": want one of auto, cpu, null`},
		{"no version", nil, "engine: cpu\n", "`version: 1` is missing"},
		{"later version", nil, "version: 2\n", "v.yaml:1: version 2 is not known"},
		{"twice", nil, "version: 1\nengine: cpu\nengine: null\n", "v.yaml:3:"},
		{"nested", nil, "version: 1\nengine:\n  name: cpu\n", "v.yaml:2: engine: want one value"},
		{"empty value", nil, "version: 1\nengine:\n", "v.yaml:2: engine: want one value"},
		{"two documents", nil, "version: 1\n---\nversion: 1\n", "more than one document"},
		{"not a mapping", nil, "- a\n", "want `key: value`"},
		{"not YAML", nil, "a: [\n", "v.yaml"},
		{"environment", map[string]string{"VITRINE_MAX_QUEUE_DELAY": "soon"}, "", `VITRINE_MAX_QUEUE_DELAY: invalid value "soon"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bindTest(t, nil, c.env, c.yaml)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q within", err, c.want)
			}
			if !IsUsage(err) {
				t.Errorf("%v is no usage error", err)
			}
		})
	}
}

func TestUnknownVariablesAreLeftAlone(t *testing.T) {
	env := map[string]string{"VITRINE_PORT": "tcp://10.0.0.1:8000", "VITRINE_JSON": "true"}
	if v, err := bindTest(t, nil, env, ""); err != nil || v.json {
		t.Errorf("got %v, json %v", err, v.json)
	}
}

func TestAMissingFileIsAUsageError(t *testing.T) {
	fs, _ := testFlags()
	err := Binder{LookupEnv: os.LookupEnv}.Bind(fs, filepath.Join(t.TempDir(), "none.yaml"))
	if !IsUsage(err) {
		t.Errorf("got %v", err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("version: 1\nengine: cpu\n")
	f.Add("version: 1\npreferred-batch-size: [1, 2]\n")
	f.Add("&a [*a]")
	f.Add("? {a: b}\n: c")
	f.Fuzz(func(t *testing.T, text string) {
		b := Binder{Known: func(k string) bool { return k == "engine" }, Flags: []string{"engine"}}
		entries, err := b.parse("f", []byte(text))
		if err == nil && entries["version"].value != FileVersion {
			t.Errorf("accepted without a version: %q", text)
		}
	})
}
