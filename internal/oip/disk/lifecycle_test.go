package disk

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// moment is what the real Triton 2.51 showed after a step; testdata/triton/lifecycle.py records it.
type moment struct {
	Step    string
	Code    int
	Text    string
	Index   []oip.IndexEntry
	Ready   int
	Answers map[string]string
}

func recorded(t *testing.T) (all struct{ Poll, Explicit []moment }) {
	t.Helper()
	b, err := os.ReadFile("../../../testdata/triton/lifecycle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil || len(all.Poll) < 10 || len(all.Explicit) < 15 {
		t.Fatalf("%d and %d steps, %v", len(all.Poll), len(all.Explicit), err)
	}
	return all
}

// differences are where Vitrine shows more than Triton, by step.
var differences = map[string]func(t *testing.T, index []oip.IndexEntry){
	// What is served on says why it is not what lies there now.
	"version 3 is changed and fails": withoutReasons,
	"m's configuration is wrong":     withoutReasons,
}

// withoutReasons takes the reasons away that versions of m have while they serve.
func withoutReasons(t *testing.T, index []oip.IndexEntry) {
	t.Helper()
	reasons := 0
	for i := range index {
		if e := &index[i]; e.Name == "m" && e.State == "READY" && e.Reason != "" {
			e.Reason = ""
			reasons++
		}
	}
	if reasons == 0 {
		t.Error("what is served does not say why it is not what lies there")
	}
}

// withoutOverridden leaves out a model that a request brought whole: Triton's index names stored models only.
func withoutOverridden(index []oip.IndexEntry) (stored []oip.IndexEntry) {
	for _, e := range index {
		if e.Name != "y" {
			stored = append(stored, e)
		}
	}
	return stored
}

func (b *bench) compare(want moment) {
	b.t.Helper()
	index := withoutOverridden(b.registry.Index(false))
	if change := differences[want.Step]; change != nil {
		change(b.t, index)
	}
	if d := cmp.Diff(want.Index, index); d != "" {
		b.t.Errorf("%s: index: %s", want.Step, d)
	}
	ready := 400
	if b.registry.Ready() {
		ready = 200
	}
	if ready != want.Ready {
		b.t.Errorf("%s: ready %d, Triton %d", want.Step, ready, want.Ready)
	}
	for model, answer := range want.Answers {
		if got := b.answer(model); got != answer {
			b.t.Errorf("%s: %s answers %q, Triton %q", want.Step, model, got, answer)
		}
	}
}

const all = imageConfig + "version_policy { all { } }\n"

// TestPollingAsTriton takes the steps that were recorded, and compares after each.
func TestPollingAsTriton(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	b.put("n/config.pbtxt", imageConfig)
	b.version("n", "1", true)
	steps := map[string]func(){
		"n is mended":                      func() { b.version("n", "1", false) },
		"m gets version 2":                 func() { b.version("m", "2", false) },
		"m gets version 3, which fails":    func() { b.version("m", "3", true) },
		"version 3 is mended":              func() { b.version("m", "3", false) },
		"version 3 is changed and fails":   func() { b.version("m", "3", true) },
		"version 3 is removed":             func() { b.remove("m/3") },
		"m serves all versions":            func() { b.put("m/config.pbtxt", all) },
		"m's configuration is wrong":       func() { b.put("m/config.pbtxt", "max_delay: 1\n") },
		"m's configuration is right again": func() { b.put("m/config.pbtxt", imageConfig) },
		"n is removed":                     func() { b.remove("n") },
		"n is back":                        func() { b.put("n/config.pbtxt", imageConfig); b.version("n", "1", false) },
	}
	if err := b.keeper.Start(t.Context(), b.keeper.All()); err == nil {
		t.Error("a version that fails was loaded")
	}
	for i, m := range recorded(t).Poll {
		act, ok := steps[m.Step]
		switch {
		case i == 0:
		case m.Index == nil: // what clients may do, which the registry's own tests check
			continue
		case !ok:
			t.Fatalf("no step %q", m.Step)
		default:
			act()
			b.poll()
		}
		b.compare(m)
	}
}

// TestExplicitAsTriton does the same where clients load and unload.
func TestExplicitAsTriton(t *testing.T) {
	b := newBench(t)
	b.put("m/config.pbtxt", imageConfig)
	b.version("m", "1", false)
	b.put("n/config.pbtxt", imageConfig)
	b.version("n", "1", true)
	config := func(version string) string {
		return `{"backend":"vitrine","max_batch_size":4,"version_policy":{"specific":{"versions":[` + version + `]}},
			"input":[{"name":"INPUT0","data_type":"TYPE_FP32","dims":[3,2,2]}],"output":[{"name":"OUTPUT0","data_type":"TYPE_FP32","dims":[4]}]}`
	}
	file := map[string][]byte{"file:7/weights": []byte("x")}
	load := func(name, config string, files map[string][]byte) func() error {
		return func() error { return b.registry.Load(t.Context(), name, config, files) }
	}
	unload := func(name string) func() error { return func() error { return b.registry.Unload(name) } }
	after := func(do func(), then func() error) func() error { return func() error { do(); return then() } }
	steps := map[string]func() error{
		"load m":                                         load("m", "", nil),
		"load n, which fails":                            load("n", "", nil),
		"load x, which is not there":                     load("x", "", nil),
		"load m with version 2, which fails":             after(func() { b.version("m", "2", true) }, load("m", "", nil)),
		"load m with version 2 mended":                   after(func() { b.version("m", "2", false) }, load("m", "", nil)),
		"load m with all versions, of which 3 fails":     after(func() { b.version("m", "3", true); b.put("m/config.pbtxt", all) }, load("m", "", nil)),
		"load m with all versions, of which 3 is mended": after(func() { b.version("m", "3", false) }, load("m", "", nil)),
		"load m with a configuration":                    load("m", config("1"), nil),
		"load m with a wrong configuration":              load("m", `{"max_delay": 1}`, nil),
		"load m with a file and no configuration":        load("m", "", file),
		"load m with a file":                             load("m", config("7"), file),
		"load y, of which there is only a file":          load("y", config("7"), file),
		"load m with a file outside":                     load("m", config("7"), map[string][]byte{"file:../7/weights": []byte("x")}),
		"load m as stored":                               load("m", "", nil),
		"unload m":                                       unload("m"),
		"unload m again":                                 unload("m"),
		"unload x, which is not there":                   unload("x"),
	}
	for i, m := range recorded(t).Explicit {
		if i > 0 {
			act, ok := steps[m.Step]
			if !ok {
				t.Fatalf("no step %q", m.Step)
			}
			code, text := status(act())
			want := strings.TrimSuffix(strings.TrimPrefix(m.Text, `{"error":"`), `"}`)
			if code == 500 { // Triton keeps the reason in its log
				want = "failed to poll from model repository"
			}
			if code != m.Code || !strings.Contains(text, want) {
				t.Errorf("%s: %d %s, Triton %d %s", m.Step, code, text, m.Code, want)
			}
		}
		b.compare(m)
	}
}

func status(err error) (int, string) {
	switch {
	case err == nil:
		return 200, ""
	case fault.KindOf(err) == fault.Invalid:
		return 400, err.Error()
	}
	return 500, err.Error()
}
