package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// filePrefix begins the name of a file that a load request brings: "file:<version>/<name>".
const filePrefix = "file:"

// Override is a model that a load request brings whole: its configuration as JSON and its files take
// the place of what is stored, and nothing stored is used. The files lie in a folder of their own
// until done is called.
func Override(name, configJSON string, files map[string][]byte) (m *Model, done func() error, err error) {
	if configJSON == "" {
		return nil, nil, errors.New("Load parameter 'config' must be specified for model file override") //nolint:staticcheck // Triton's words
	}
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	root, err := os.MkdirTemp("", "vitrine-model-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() error { return os.RemoveAll(root) }
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	for key, content := range files {
		if err := writeOverride(filepath.Join(root, name), key, content); err != nil {
			return nil, nil, err
		}
	}
	if m, err = (&Repository{dirs: []string{root}}).ModelWith(name, configJSON); err != nil {
		return nil, nil, err
	}
	return m, remove, nil
}

// writeOverride writes one file below dir: a version's own file, or one beside the versions (labels,
// warmup/<name>). A name that leads elsewhere is refused.
func writeOverride(dir, key string, content []byte) error {
	path, ok := strings.CutPrefix(key, filePrefix)
	if !ok || path == "" || !filepath.IsLocal(path) || strings.ContainsAny(path, "\\\x00") || filepath.Clean(path) != path {
		return fmt.Errorf("'%s' is not file:<version>/<name>", key)
	}
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return err
	}
	return os.WriteFile(full, content, 0o600)
}
