package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
)

// TestCalibrate makes a calibration of a folder of photographs, one of them broken.
func TestCalibrate(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.jpg")
	if err := os.WriteFile(broken, []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "c.json")
	r := call(t, "model", "calibrate", filepath.Join(models, "tiny-gelu"), "--images", photos, "--images", broken, "--output", file)
	r.want(t, exitOK, "")
	for _, want := range []string{"BLOCK", "ERROR ALONE", file, "emulated cosine"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in %s", want, r.out)
		}
	}
	if !strings.Contains(r.err, "left out: "+broken) {
		t.Errorf("the broken image is not named: %s", r.err)
	}
	c, err := fp8.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Images < 5 || !strings.HasPrefix(c.WeightsHash, "sha256:") || c.MinCosine < 0.9992 || c.Plan == "" {
		t.Errorf("%+v", c)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "c.json")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--output", out}, exitUsage, "--images is missing"},
		{[]string{"--images", photos}, exitUsage, "--output is missing"},
		{[]string{"--images", photos, "--output", out, "--min-cosine", "2"}, exitUsage, "between 0 and 1"},
		{[]string{"--images", filepath.Join(photos, "none.jpg"), "--output", out}, exitFailure, "none of 1 files"},
		{[]string{"clip.onnx", "--images", photos, "--output", out}, exitUsage, "safetensors only"},
	} {
		args := slices.Concat([]string{"model", "calibrate"}, c.args)
		if !strings.HasSuffix(c.args[0], ".onnx") {
			args = append(args, "--model", filepath.Join(models, "tiny-gelu"))
		}
		call(t, args...).want(t, c.code, c.want)
	}
}

// TestFP8IsOptIn: fp8 is refused without a calibration, elsewhere than on a card, and a calibration without fp8.
func TestFP8IsOptIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"format":"vitrine fp8 calibration","version":1,"weights_hash":"sha256:0","blocks":[{},{}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--precision", "fp8", "--engine", "cpu", "--calibration", file}, "--engine cuda's"},
		{[]string{"--precision", "fp16", "--engine", "cpu", "--calibration", file}, "--calibration is for --precision fp8"},
		{[]string{"--calibration", file}, "--calibration is for --precision fp8"},
	} {
		args := slices.Concat([]string{"embed", photos, "--model", filepath.Join(models, "tiny-gelu"), "--output", filepath.Join(t.TempDir(), "o.npy")}, c.args)
		call(t, args...).want(t, exitUsage, c.want)
	}
	if _, err := driver.Count(); !errors.Is(err, driver.ErrNoDriver) {
		t.Skip("the rest is for a machine without a card")
	}
	call(t, "embed", photos, "--model", filepath.Join(models, "tiny-gelu"), "--output", filepath.Join(t.TempDir(), "o.npy"),
		"--precision", "fp8", "--calibration", file).want(t, exitUsage, "here --engine auto is cpu")
}

func TestEvenly(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f"}
	if got := evenly(all, 3); !slices.Equal(got, []string{"a", "c", "e"}) {
		t.Error(got)
	}
	if got := evenly(all, 9); !slices.Equal(got, all) {
		t.Error(got)
	}
}
