package tune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// version of the file. One with another is not read: what it says may mean something else.
const version = 1

// Choice is what tuning found out about a model on a machine.
type Choice struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Program string    `json:"program"` // the version of vitrine
	Machine string    `json:"machine"` // as Key got it
	Model   string    `json:"model"`   // what people call it
	Weights string    `json:"weights_hash"`
	Python  string    `json:"python,omitempty"` // the interpreter that was used
	ONNX    string    `json:"onnxruntime_library,omitempty"`
	Batches []int     `json:"batches"`
	Results []Result  `json:"results"`
}

// File is where a choice for a model on a machine lies under a cache folder: one file for each pair, so
// that a folder that several machines share serves each of them.
func File(folder, machine, weights string) string {
	short := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:6])
	}
	return filepath.Join(folder, "tune", short(machine)+"-"+short(weights)+".json")
}

// Save writes a choice, whole or not at all.
func Save(path string, c Choice) (err error) {
	c.Version = version
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tune-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Load reads a choice. Where there is none, the error is os.ErrNotExist's.
func Load(path, machine, weights string) (*Choice, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c Choice
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case c.Version != version:
		return nil, fmt.Errorf("%s: format version %d, this program reads %d", path, c.Version, version)
	case c.Machine != machine || c.Weights != weights:
		return nil, fmt.Errorf("%s is of another machine or model", path)
	}
	return &c, nil
}

// String is a result on one line: "torch bf16: 412 images/s (batch 1 4.2 ms, batch 8 18 ms)".
func (r *Result) String() string {
	head := fmt.Sprintf("%s %s: ", r.Engine, r.Precision)
	if r.Error != "" {
		first, _, _ := strings.Cut(r.Error, "\n")
		return head + "not timed: " + first
	}
	var parts []string
	for _, t := range r.Timings {
		parts = append(parts, fmt.Sprintf("batch %d %.3g ms", t.Batch, t.Median.Seconds()*1e3))
	}
	return head + fmt.Sprintf("%.4g images/s (%s)", r.Speed(), strings.Join(parts, ", "))
}
