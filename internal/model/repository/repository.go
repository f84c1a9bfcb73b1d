package repository

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// configFile is the configuration's name in a model's folder.
const configFile = "config.pbtxt"

// Repository is one or more folders of models: <model>/config.pbtxt and <model>/<version>/ with the
// model's files. It holds nothing: every call reads the disk.
type Repository struct{ dirs []string }

// Open returns the repository of the folders, which must exist.
func Open(dirs ...string) (*Repository, error) {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return nil, fmt.Errorf("model repository: %w", err)
		case !info.IsDir():
			return nil, fmt.Errorf("model repository: %s is not a folder", dir)
		}
	}
	return &Repository{dirs: dirs}, nil
}

// Names are the models that have a folder, sorted. A name that is in two of the folders is an error of
// that model, told by Model.
func (r *Repository) Names() ([]string, error) {
	var names []string
	for _, dir := range r.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("model repository: %w", err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") && isDir(filepath.Join(dir, e.Name())) {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Model is a model as it lies on disk.
type Model struct {
	Config   *Config
	Dir      string
	Exist    []int64 // versions that have a folder, ascending
	Versions []int64 // those that the version policy serves
}

// Model reads a model's configuration, completes it as Triton does, holds it to Triton's rules and
// chooses its versions. Whether it can run here is Config.Check's to say.
func (r *Repository) Model(name string) (*Model, error) {
	dir, err := r.find(name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, configFile)
	text, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("model '%s': %w", name, err)
	}
	config, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("failed to read text proto from %s/%s: %w", name, configFile, err)
	}
	return r.model(name, dir, config)
}

// ModelWith is Model with a configuration that a load request brings as JSON in place of the file's.
func (r *Repository) ModelWith(name, configJSON string) (*Model, error) {
	dir, err := r.find(name)
	if err != nil {
		return nil, err
	}
	config, err := ParseJSON([]byte(configJSON))
	if err != nil {
		return nil, fmt.Errorf("model '%s': the configuration of the load request: %w", name, err)
	}
	return r.model(name, dir, config)
}

func (r *Repository) model(name, dir string, config *Config) (*Model, error) {
	if config.Name != "" && config.Name != name {
		return nil, fmt.Errorf("unexpected directory name '%s' for model '%s', directory name must equal model name", name, config.Name)
	}
	config.complete(name)
	if err := config.validate(); err != nil {
		return nil, err
	}
	m := &Model{Config: config, Dir: dir}
	var err error
	if m.Exist, err = versions(dir); err != nil {
		return nil, err
	}
	m.Versions, err = config.VersionPolicy.Select(name, m.Exist)
	return m, err
}

// find returns the model's folder; a name never leaves the repository.
func (r *Repository) find(name string) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("model '%s' has an invalid name", name)
	}
	var found []string
	for _, dir := range r.dirs {
		if path := filepath.Join(dir, name); isDir(path) {
			found = append(found, path)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("model '%s' is in no model repository: %w", name, fs.ErrNotExist)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("model '%s' is in more than one model repository: %s", name, strings.Join(found, ", "))
}

func versions(dir string) (exist []int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	for _, e := range entries {
		if v, ok := parseVersion(e.Name()); ok && isDir(filepath.Join(dir, e.Name())) {
			exist = append(exist, v)
		}
	}
	slices.Sort(exist)
	return exist, nil
}

// VersionDir is the folder of a version.
func (m *Model) VersionDir(version int64) string {
	return filepath.Join(m.Dir, strconv.FormatInt(version, 10))
}

// File is the model file of a version.
func (m *Model) File(version int64) string {
	return filepath.Join(m.VersionDir(version), m.Config.DefaultModelFilename)
}

// Labels reads the class names of an output, one a line; none if it has no label file.
func (m *Model) Labels(output string) ([]string, error) {
	for _, o := range m.Config.Output {
		if o.Name == output && o.LabelFilename != "" {
			return m.readLabels(o.LabelFilename)
		}
	}
	return nil, nil
}

func (m *Model) readLabels(name string) (labels []string, err error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("label_filename '%s' must stay within model directory", name)
	}
	f, err := os.Open(filepath.Join(m.Dir, name))
	if err != nil {
		return nil, fmt.Errorf("labels of model '%s': %w", m.Config.Name, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		labels = append(labels, lines.Text())
	}
	return labels, lines.Err()
}

// Stamp is a mark of a model's files: it changes when one is written, added or removed. Polling loads
// a model again when its stamp does.
func (r *Repository) Stamp(name string) (string, error) {
	dir, err := r.find(name)
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went away in between: the next poll sees it
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return strconv.FormatUint(h.Sum64(), 16), err
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxConfigBytes+1))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
