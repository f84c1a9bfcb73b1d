package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Python is an interpreter and the packages that matter.
type Python struct {
	Command  string            `json:"command"`
	Path     string            `json:"path,omitempty"`
	Version  string            `json:"version,omitempty"`
	Packages map[string]string `json:"packages,omitempty"` // versions; what is not installed is not there
	Problem  string            `json:"problem,omitempty"`  // why it could not be asked
}

// Torch is the version of torch, "" if it is not installed.
func (p *Python) Torch() string { return p.Packages["torch"] }

// probe prints what Python holds. Nothing is imported: torch alone takes seconds.
const probe = `
import importlib.metadata, json, sys
found = {}
for name in ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({"path": sys.executable, "version": sys.version.split()[0], "packages": found}))
`

// probeWithin is generous: a cold disk.
const probeWithin = 20 * time.Second

// ProbePython asks an interpreter.
func ProbePython(ctx context.Context, command string) Python {
	p := Python{Command: command}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, command, "-c", probe).Output()
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		p.Problem = explain(command, err)
	}
	return p
}

func explain(command string, err error) string {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Sprintf("no %s on the path", command)
	}
	if e := (*exec.ExitError)(nil); errors.As(err, &e) && len(e.Stderr) > 0 {
		lines := strings.Split(strings.TrimSpace(string(e.Stderr)), "\n")
		return fmt.Sprintf("%v: %s", err, lines[len(lines)-1])
	}
	return err.Error()
}
