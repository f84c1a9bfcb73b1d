package onnxruntime

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/dynlib"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
)

// LibraryError is ONNX Runtime's absence. Its text says what to install.
type LibraryError struct {
	Provider Provider
	Err      error
}

// Error names what was tried and what to do.
func (e *LibraryError) Error() string {
	if errors.Is(e.Err, dynlib.ErrStatic) {
		return fmt.Sprintf("--engine onnxruntime: %v", e.Err)
	}
	return fmt.Sprintf("ONNX Runtime's library cannot be loaded: pip install %s, or name libonnxruntime.so with --onnxruntime-library (%v)",
		fullNames[e.Provider].pack, e.Err)
}

// Unwrap is the reason.
func (e *LibraryError) Unwrap() error { return e.Err }

// Load finds and loads ONNX Runtime: the named library, else that of the loader's path, else the newest
// that pip has installed. Nothing is run to find out where pip installs.
func Load(library string, provider Provider) (*capi.API, error) {
	api, err := capi.Load(Search(library)...)
	if err != nil {
		return nil, &LibraryError{provider, err}
	}
	return api, nil
}

// Search is what Load tries, in turn.
func Search(library string) []string {
	if library != "" {
		return []string{library}
	}
	return append([]string{"libonnxruntime.so.1", "libonnxruntime.so"}, installed()...)
}

// installed are the libraries in Python's package folders, newest first in each: those of the active
// virtual environment, of the python3 on the path, of the user, of the system.
func installed() (found []string) {
	for _, lib := range pythonFolders() {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			list, _ := filepath.Glob(filepath.Join(lib, "python3*", packages, "onnxruntime", "capi", "libonnxruntime.so.*"))
			slices.SortFunc(list, func(a, b string) int { return compareVersions(b, a) })
			found = append(found, list...)
		}
	}
	return found
}

func pythonFolders() (lib []string) {
	add := func(prefix ...string) { lib = append(lib, filepath.Join(append(prefix, "lib")...)) }
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		add(env)
	}
	if python, err := exec.LookPath("python3"); err == nil {
		add(filepath.Dir(filepath.Dir(python)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		add(home, ".local")
	}
	add("/usr/local")
	add("/usr")
	return lib
}

// compareVersions orders libonnxruntime.so.1.9.0 before libonnxruntime.so.1.24.1.
func compareVersions(a, b string) int {
	return slices.CompareFunc(versionOf(a), versionOf(b), cmp.Compare[int])
}

func versionOf(path string) (v []int) {
	_, version, _ := strings.Cut(filepath.Base(path), ".so.")
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		v = append(v, n)
	}
	return v
}

// devicePatterns are the libraries that the CUDA and TensorRT providers are linked to, in an order in
// which each finds those before it, as pip installs them beside ONNX Runtime.
var devicePatterns = []string{
	"nvidia/*/lib/libcudart.so.*", "nvidia/*/lib/libnvJitLink.so.*", "nvidia/*/lib/libnvrtc.so.*", "nvidia/*/lib/libcublasLt.so.*",
	"nvidia/*/lib/libcublas.so.*", "nvidia/*/lib/libcufft.so.*", "nvidia/*/lib/libcurand.so.*", "nvidia/*/lib/libcudnn_graph.so.*",
	"nvidia/*/lib/libcudnn*.so.*", "tensorrt_libs/libnvinfer.so.*", "tensorrt_libs/libnvinfer_plugin.so.*", "tensorrt_libs/libnvonnxparser.so.*",
}

// preload loads what the device's providers need from the packages beside ONNX Runtime's own, as its
// Python package does; the loader then finds them by name. What is missing shows when the provider is
// loaded, with the loader's words.
func preload(api *capi.API) (loaded []string) {
	site := filepath.Dir(filepath.Dir(filepath.Dir(api.Path)))
	for _, pattern := range devicePatterns {
		list, _ := filepath.Glob(filepath.Join(site, pattern))
		for _, path := range list {
			if _, err := dynlib.Open(path); err == nil && !slices.Contains(loaded, path) {
				loaded = append(loaded, path)
			}
		}
	}
	return loaded
}
