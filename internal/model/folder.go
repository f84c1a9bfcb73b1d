package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/safetensors"
)

// weightFiles are the names under which weights are published, in the order in which they are tried.
var weightFiles = []string{"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors"}

// weightIndex lists the files of weights that are split into several.
const weightIndex = "model.safetensors.index.json"

// openFolder reads a model from a folder.
func openFolder(dir string) (*Model, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	paths, err := findWeights(dir)
	if err != nil {
		return nil, err
	}
	return openFiles(c, paths)
}

// openFile reads a model from one safetensors file and the configuration beside it.
func openFile(path string) (*Model, error) {
	if !strings.HasSuffix(path, ".safetensors") {
		return nil, notSafetensors(path)
	}
	c, err := readConfig(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return openFiles(c, []string{path})
}

// readConfig reads open_clip_config.json, or config.json where there is none.
func readConfig(dir string) (Config, error) {
	switch {
	case hasFile(dir, openCLIPConfig):
		return readOpenCLIP(inFolder(dir))
	case hasFile(dir, hfConfig):
		return readHuggingFace(inFolder(dir))
	}
	return Config{}, fmt.Errorf("%s: neither %s nor %s is there: the weights' dimensions are unknown", dir, openCLIPConfig, hfConfig)
}

func findWeights(dir string) ([]string, error) {
	for _, name := range weightFiles {
		if hasFile(dir, name) {
			return []string{filepath.Join(dir, name)}, nil
		}
	}
	if hasFile(dir, weightIndex) {
		names, err := readIndex(inFolder(dir))
		for i := range names {
			names[i] = filepath.Join(dir, names[i])
		}
		return names, err
	}
	for _, pattern := range []string{"*.bin", "*.pt", "*.pth"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return nil, notSafetensors(found[0])
		}
	}
	return nil, fmt.Errorf("%s: no weights: none of %s, %s", dir, strings.Join(weightFiles, ", "), weightIndex)
}

func notSafetensors(path string) error {
	return fmt.Errorf(`%s: not a .safetensors file. Vitrine reads no pickled weights (they can run code); convert them with: python -c "import sys, torch; from safetensors.torch import save_file; s = torch.load(sys.argv[1], weights_only=True); save_file({k: v.contiguous().clone() for k, v in s.get('state_dict', s).items()}, sys.argv[2])" %s open_clip_model.safetensors`,
		path, filepath.Base(path))
}

// readIndex returns the names of the files that hold the weights. They are plain names: an index that
// points out of its folder is refused.
func readIndex(d configDir) ([]string, error) {
	o, err := d.object(weightIndex)
	if err != nil {
		return nil, err
	}
	o.need("weight_map")
	m := o.sub("weight_map")
	var names []string
	for key := range m.values {
		name := m.str(key, "")
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || !strings.HasSuffix(name, ".safetensors") {
			m.fail(key, "%q is not the name of a .safetensors file in this folder", name)
		}
		names = append(names, name)
	}
	if *o.err != nil {
		return nil, *o.err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// openFiles maps the files, finds the image tower in them and hashes it.
func openFiles(c Config, paths []string) (m *Model, err error) {
	var files []*safetensors.File
	closeAll := func() error {
		var errs []error
		for _, f := range files {
			errs = append(errs, f.Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	b, synthetic := bag{}, false
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		if err := b.add(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		synthetic = synthetic || f.Metadata[syntheticMark] == "true"
	}
	m = &Model{Config: c, Source: Source{Path: paths[0], Synthetic: synthetic}, close: closeAll}
	err = safetensors.Guard(func() error { m.Weights, err = b.weights(c); return err })
	if err == nil {
		m.WeightsHash, err = m.hash()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[0], err)
	}
	return m, nil
}

func (b bag) add(f *safetensors.File) error {
	for _, t := range f.Tensors {
		if _, twice := b[t.Name]; twice {
			return fmt.Errorf("tensor %q is in another file of the index too", t.Name)
		}
		b[t.Name] = t
	}
	return nil
}

func isDir(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}
