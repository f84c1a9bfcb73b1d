package onnxruntime

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/dynlib"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
)

// testLibrary is ONNX Runtime for tests: VITRINE_ONNXRUNTIME_LIBRARY, or what pip has put beside the
// Python that VITRINE_PYTHON names.
func testLibrary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("VITRINE_ONNXRUNTIME_LIBRARY")
	if python := os.Getenv("VITRINE_PYTHON"); path == "" && python != "" {
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(python)), "lib", "python3*", "site-packages", "onnxruntime", "capi", "libonnxruntime.so.*"))
		slices.SortFunc(found, compareVersions)
		if len(found) > 0 {
			path = found[len(found)-1]
		}
	}
	if path == "" {
		t.Skip("neither VITRINE_ONNXRUNTIME_LIBRARY nor VITRINE_PYTHON names ONNX Runtime")
	}
	if _, err := capi.Load(path); errors.Is(err, dynlib.ErrStatic) {
		t.Skip(err)
	}
	return path
}

func TestMissingLibraryNamesThePackage(t *testing.T) {
	for _, c := range []struct {
		provider Provider
		want     string
	}{{CPU, "pip install onnxruntime,"}, {OpenVINO, "pip install onnxruntime-openvino,"}, {TensorRT, "pip install onnxruntime-gpu tensorrt,"}} {
		_, err := Load("/nowhere/libonnxruntime.so", c.provider)
		var missing *LibraryError
		if !errors.As(err, &missing) {
			t.Fatalf("%s: got %v", c.provider, err)
		}
		if errors.Is(err, dynlib.ErrStatic) {
			continue
		}
		for _, want := range []string{c.want, "--onnxruntime-library", "/nowhere/libonnxruntime.so"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in %q", c.provider, want, err)
			}
		}
	}
}

func TestAnotherLibraryIsRefused(t *testing.T) {
	_, err := Load("libm.so.6", CPU)
	if err == nil || !errors.Is(err, dynlib.ErrStatic) && !strings.Contains(err.Error(), "not ONNX Runtime") {
		t.Errorf("got %v", err)
	}
}

func TestInstalledByPip(t *testing.T) {
	env := t.TempDir()
	capi := filepath.Join(env, "lib", "python3.12", "site-packages", "onnxruntime", "capi")
	if err := os.MkdirAll(capi, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libonnxruntime.so.1.9.0", "libonnxruntime.so.1.24.1", "libonnxruntime_providers_shared.so"} {
		if err := os.WriteFile(filepath.Join(capi, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("VIRTUAL_ENV", env)
	found := installed()
	want := []string{filepath.Join(capi, "libonnxruntime.so.1.24.1"), filepath.Join(capi, "libonnxruntime.so.1.9.0")}
	if len(found) < 2 || !slices.Equal(found[:2], want) {
		t.Errorf("found %q, want %q first", found, want)
	}
}
