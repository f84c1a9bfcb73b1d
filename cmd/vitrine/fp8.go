package main

import (
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
)

// fp8Untested is said wherever fp8 is offered, until its kernels have run.
const fp8Untested = "compiled, not yet run on a card"

// fp8Name is fp8 as --precision takes it. A model of a repository cannot ask for it: a calibration belongs to one
// model's weights.
const fp8Name = string(engine.FP8)

var errNoCalibration = errors.New("--precision fp8 needs --calibration FILE, which `vitrine model calibrate --images FOLDER --output FILE` makes for the model")

func (e *engineFlags) fp8() bool { return e.precision == fp8Name }

// checkFP8 refuses what cannot be in fp8, and a calibration that nothing would read.
func (e *engineFlags) checkFP8(devices []fleet.Device) error {
	if !e.fp8() {
		if e.calibration != "" {
			return cli.Usage{Err: fmt.Errorf("--calibration is for --precision fp8, this is --precision %s", e.precision)}
		}
		return nil
	}
	b, err := e.backendOn(devices)
	switch {
	case err != nil:
		return err
	case b != &cudaBackend:
		return cli.Usage{Err: fmt.Errorf("--precision fp8 is --engine cuda's, on a Hopper card; here --engine %s is %s", e.name, b.name)}
	case e.calibration == "":
		return cli.Usage{Err: errNoCalibration}
	}
	_, err = e.readCalibration()
	return err
}

// readCalibration is the file of --calibration, and nil in other precisions than fp8.
func (e *engineFlags) readCalibration() (*fp8.Calibration, error) {
	if !e.fp8() {
		return nil, nil
	}
	c, err := fp8.Read(e.calibration)
	if err != nil {
		return nil, fmt.Errorf("--calibration: %w", err)
	}
	return c, nil
}
