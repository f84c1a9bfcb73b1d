package fp8

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitrine-project/vitrine/internal/model"
)

// Format and version of a calibration's file.
const (
	fileFormat  = "vitrine fp8 calibration"
	fileVersion = 1
)

// MinCosine is the accuracy contract of fp8 against float32 on the same weights and pixels, on photographs.
const MinCosine = 0.999

// Calibration says which products of a model are computed in fp8, and the scales of their inputs.
type Calibration struct {
	Format      string  `json:"format"`
	Version     int     `json:"version"`
	Program     string  `json:"program,omitempty"` // the version of vitrine that made it
	Model       string  `json:"model"`             // what people call it
	WeightsHash string  `json:"weights_hash"`      // of the model; no other is computed with this
	Plan        string  `json:"preprocessing"`
	Images      int     `json:"images"`
	MinCosine   float64 `json:"min_cosine"`  // lowest over the images, emulated against float32
	MeanCosine  float64 `json:"mean_cosine"` // of the same
	Share       float64 `json:"fp8_share"`   // of the operations in all matrix products
	Blocks      []Block `json:"blocks"`
}

// Block holds the scales of a transformer block's inputs in fp8: value = scale * E4M3. 0 is a layer in 16
// bits. FC1 and FC2 are both in fp8 or neither.
type Block struct {
	QKV float32 `json:"qkv,omitempty"` // of the residual stream before LN1
	FC1 float32 `json:"fc1,omitempty"` // of the residual stream before LN2
	FC2 float32 `json:"fc2,omitempty"` // of the activation's result

	QKVError float64 `json:"qkv_error,omitempty"` // mean 1 - cosine with only this in fp8
	MLPError float64 `json:"mlp_error,omitempty"`
}

// Check refuses a calibration that is not of these weights.
func (c *Calibration) Check(m *model.Model) error {
	if c.WeightsHash != m.WeightsHash {
		return fmt.Errorf("the calibration is of the weights %s (%s), the model's are %s: calibrate this model with `vitrine model calibrate`",
			c.WeightsHash, c.Model, m.WeightsHash)
	}
	if len(c.Blocks) != m.Config.Layers {
		return fmt.Errorf("the calibration has %d blocks, the model %d", len(c.Blocks), m.Config.Layers)
	}
	return nil
}

// Scales that are believed: beyond them a file is broken.
const minScale, maxScale = 1e-9, 1e9

// validate tells what makes a file no calibration.
func (c *Calibration) validate() error {
	switch {
	case c.Format != fileFormat:
		return fmt.Errorf("no calibration: its format is %q, not %q", c.Format, fileFormat)
	case c.Version != fileVersion:
		return fmt.Errorf("format version %d, this program reads %d", c.Version, fileVersion)
	case len(c.Blocks) == 0:
		return errors.New("no blocks")
	}
	for i, b := range c.Blocks {
		if err := b.validate(i == 0, i == len(c.Blocks)-1); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func (b Block) validate(first, last bool) error {
	for _, s := range []float32{b.QKV, b.FC1, b.FC2} {
		if s != 0 && !(s >= minScale && s <= maxScale) {
			return fmt.Errorf("a scale of %g", s)
		}
	}
	switch {
	case (b.FC1 == 0) != (b.FC2 == 0):
		return errors.New("of fc1 and fc2 only one is in fp8")
	case first && b.QKV != 0:
		return errors.New("qkv of the first block is in fp8, which no kernel computes")
	case last && b.FC1 != 0:
		return errors.New("the MLP of the last block is in fp8, which no kernel computes")
	}
	return nil
}

// maxFile is the largest file that is read: the largest model's would be a hundredth of it.
const maxFile = 1 << 20

// Read reads a calibration's file.
func Read(path string) (*Calibration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	c, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parse(text []byte) (*Calibration, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("no calibration: more than %d bytes", maxFile)
	}
	var c Calibration
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("no calibration: %w", err)
	}
	return &c, c.validate()
}

// Write writes the file, whole or not at all.
func (c *Calibration) Write(path string) (err error) {
	c.Format, c.Version = fileFormat, fileVersion
	if err := c.validate(); err != nil {
		return err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", " ")
	if err := e.Encode(c); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".calibration-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
