// Package kernels holds the CUDA kernels (*.cu, one operator a file) and the machine code that `make
// kernels` compiled from them.
package kernels

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"sync"
)

//go:embed bin
var images embed.FS

// Target is what machine code is compiled for.
type Target string

// Targets that there are. Machine code runs on its capability, or (8.0) on later ones of the same major
// number; PTX is compiled by the driver.
const (
	SM80      Target = "sm_80"
	SM86      Target = "sm_86"
	SM89      Target = "sm_89"
	SM90a     Target = "sm_90a"
	Compute80 Target = "compute_80"
	Compute90 Target = "compute_90"
)

// Waits tells whether the code waits for its predecessors by itself (programmatic dependent launch).
func (t Target) Waits() bool { return t == SM90a || t == Compute90 }

// TargetFor is the best target for a compute capability (90 for 9.0).
func TargetFor(capability int) (Target, error) {
	switch {
	case capability < 80:
		return "", fmt.Errorf("compute capability %d.%d: 8.0 (Ampere) is the oldest that is supported", capability/10, capability%10)
	case capability == 86:
		return SM86, nil
	case capability == 89:
		return SM89, nil
	case capability < 90:
		return SM80, nil
	case capability == 90:
		return SM90a, nil
	default:
		return Compute90, nil
	}
}

// Image is the code of one unit (a .cu file's name without its suffix), to be loaded by the driver.
func Image(t Target, unit string) ([]byte, error) {
	name := "bin/" + string(t) + "/" + unit + ".gz"
	if code, ok := unpacked.Load(name); ok {
		return code.([]byte), nil
	}
	packed, err := images.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("no %s for %s: %w", unit, t, err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s for %s: %w", unit, t, err)
	}
	code, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s for %s: %w", unit, t, err)
	}
	unpacked.Store(name, code)
	return code, nil
}

// unpacked keeps images by name: every GPU of a machine loads the same ones. Nobody writes to them.
var unpacked sync.Map
