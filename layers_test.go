package vitrine

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vitrine-project/vitrine/"

// A rule says what a package (and all below it) may not import, and why.
type rule struct {
	from   string
	denied []string
	reason string
}

var rules = []rule{
	{"internal/tensor", []string{"internal/"}, "a leaf: every layer uses it"},
	{"internal/fault", []string{"internal/"}, "a leaf: a fault must not know who carries it"},
	{"internal/jsontext", []string{"internal/"}, "a leaf: every reader of JSON uses it"},
	{"internal/dynlib", []string{"internal/"}, "a leaf: loading a library says nothing of its use"},
	{"internal/cpufeat", []string{"internal/"}, "a leaf: features are facts of the machine"},
	{"internal/numa", []string{"internal/"}, "a leaf: where a device is says nothing of what it does"},
	{"internal/gpu", []string{"internal/model", "internal/engine", "internal/preproc", "internal/telemetry", "internal/service", "internal/front", "internal/lab"}, "a leaf: the server and the laboratory read the same cards"},
	{"internal/doctor", []string{"internal/model", "internal/engine", "internal/preproc", "internal/service", "internal/front", "internal/lab"}, "it describes a machine, whatever runs there"},
	{"internal/tune", []string{"internal/model", "internal/preproc", "internal/batcher", "internal/service", "internal/front", "internal/lab"}, "it times engines, whoever made them"},
	{"internal/preproc/raster", []string{"internal/"}, "a leaf: a decoded image"},
	{"internal/model", []string{"internal/engine", "internal/preproc", "internal/batcher", "internal/service", "internal/front", "internal/lab"}, "a model is what engines compute, it does not know them"},
	{"internal/model/onnx", []string{"internal/"}, "a leaf: a file format"},
	{"internal/engine/onnxruntime/capi", []string{"internal/engine", "internal/model"}, "a library's functions, whatever they compute"},
	{"internal/telemetry", []string{"internal/batcher", "internal/service", "internal/front", "internal/engine", "internal/lab"}, "telemetry is told, it does not ask"},
	{"internal/engine", []string{"internal/preproc", "internal/batcher", "internal/service", "internal/front", "internal/lab"}, "an engine sees rows, never images or requests"},
	{"internal/engine/fleet", []string{"internal/engine/cpu", "internal/engine/cuda", "internal/engine/null", "internal/engine/onnxruntime", "internal/engine/torch"}, "several devices behind one queue are the same for every engine"},
	{"internal/engine/fp8", []string{"internal/engine/cuda", "internal/engine/fleet"}, "the numbers of fp8 are the same whatever card computes them"},
	{"internal/engine/cuda/driver", []string{"internal/model", "internal/engine", "internal/fault"}, "a driver knows no model and no request"},
	{"internal/engine/cuda/ipc", []string{"internal/model", "internal/tensor", "internal/oip"}, "memory of other processes, whatever lies there"},
	{"internal/engine/cuda/kernels", []string{"internal/"}, "a leaf: machine code"},
	{"internal/cardjpeg/nvjpeg", []string{"internal/preproc", "internal/engine", "internal/service", "internal/front", "internal/lab"}, "a library's functions, whatever they decode for"},
	{"internal/cardjpeg", []string{"internal/model", "internal/engine/cpu", "internal/engine/fleet", "internal/engine/null", "internal/engine/onnxruntime", "internal/engine/torch", "internal/batcher", "internal/service", "internal/front", "internal/lab"}, "a card that decodes writes a row as the processor would and knows no engine"},
	{"internal/preproc", []string{"internal/engine", "internal/batcher", "internal/service", "internal/front", "internal/lab"}, "preprocessing writes a row and knows nothing of its fate"},
	{"internal/batcher", []string{"internal/preproc", "internal/service", "internal/front", "internal/lab"}, "the queue orders finished rows"},
	{"internal/service", []string{"internal/front", "internal/lab"}, "nothing loops back up to a protocol"},
	{"internal/wire", []string{"internal/telemetry", "internal/service", "internal/front", "internal/oip", "internal/engine", "internal/batcher", "internal/lab"}, "protocol types: the client and the laboratory share them with the server"},
	{"internal/oip", []string{"internal/front", "internal/batcher", "internal/engine", "internal/lab"}, "the protocol does not know who carries it, nor what computes"},
	{"internal/front/door", []string{"internal/front", "internal/service", "internal/oip", "internal/telemetry"}, "who comes in is decided before anything is known of the request"},
	{"internal/front", []string{"internal/engine", "internal/batcher", "internal/lab"}, "a front talks to service.Model only"},
	{"internal/vectorfile", []string{"internal/engine", "internal/service", "internal/front", "internal/lab"}, "a file of vectors does not care who computed them"},
	{"internal/lab", []string{"internal/front", "internal/batcher"}, "the laboratory shares only wire formats with the server"},
	{"internal/lab/report", []string{"internal/service", "internal/engine", "internal/preproc", "internal/model", "internal/lab/target", "internal/lab/load", "internal/lab/plan", "internal/lab/scenario"}, "a report is a function of records: it asks no server and runs nothing"},
	{"internal/lab/record", []string{"internal/"}, "a leaf: records outlive the programs that wrote them"},
	{"internal/lab/stats", []string{"internal/"}, "a leaf: statistics see numbers only"},
	{"internal/lab/pacer", []string{"internal/"}, "a leaf: when requests are due is arithmetic"},
	{"internal/lab/link", []string{"internal/"}, "a leaf: a network does not know what it carries"},
	{"internal/lab/scrape", []string{"internal/service", "internal/engine", "internal/lab/target", "internal/lab/load"}, "metrics are text and samples"},
	{"internal/lab/target", []string{"internal/service", "internal/lab/load", "internal/lab/scenario", "internal/lab/report"}, "a target is sent to; it knows no schedule"},
	{"internal/lab/load", []string{"internal/service", "internal/engine", "internal/preproc", "internal/lab/scenario", "internal/lab/report"}, "the load generator sees targets only"},
	{"internal/lab/host", []string{"internal/lab/target", "internal/lab/load", "internal/lab/plan", "internal/lab/report"}, "it describes a machine to the record"},
	{"internal/lab/plan", []string{"internal/engine", "internal/model", "internal/lab/load", "internal/lab/link", "internal/lab/scenario"}, "a plan says what to measure and measures nothing"},
	{"internal/lab/scenario", []string{"internal/service", "internal/model", "internal/lab/report"}, "it writes records and does not read them; whoever calls it makes its engines"},
	{"internal/lab/watch", []string{"internal/"}, "a screen reads counters"},
	{"client", []string{"internal/service", "internal/engine", "internal/batcher", "internal/front", "internal/preproc", "internal/lab"}, "public: a client links no server"},
}

func TestImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		for _, msg := range violations(pkg, fields[1:]) {
			t.Error(msg)
		}
		checked++
	}
	if checked < 10 {
		t.Fatalf("only %d packages listed: the test is not looking at the module", checked)
	}
}

func TestViolationsAreFound(t *testing.T) {
	if got := violations("internal/preproc/jpeg", []string{module + "internal/front/embedapi"}); len(got) != 1 {
		t.Errorf("want one violation, got %q", got)
	}
	if got := violations("internal/engine/cpu", []string{module + "internal/engine", "fmt"}); len(got) != 0 {
		t.Errorf("want none, got %q", got)
	}
}

func violations(pkg string, imports []string) (msgs []string) {
	for _, r := range rules {
		if !within(pkg, r.from) {
			continue
		}
		for _, imp := range imports {
			path, ours := strings.CutPrefix(imp, module)
			if ours && !within(path, r.from) && slices.ContainsFunc(r.denied, func(d string) bool { return within(path, d) }) {
				msgs = append(msgs, fmt.Sprintf("%s imports %s: %s", pkg, path, r.reason))
			}
		}
	}
	return msgs
}

// within tells whether path is root or lies below it; a root that ends in a slash is a folder.
func within(path, root string) bool {
	return path == strings.TrimSuffix(root, "/") || strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
}
