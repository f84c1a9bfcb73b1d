package repository

import (
	"bufio"
	"fmt"
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
	Owner    *Model  // the model whose queue it shares; nil for a queue of its own
}

// QueueOf is the parameter by which a model names another whose weights and queue it shares.
const QueueOf = "queue_of"

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
	err := r.findVersions(m)
	return m, err
}

// findVersions lists a model's version folders, or the served versions of the model whose queue it
// shares, and chooses among them.
func (r *Repository) findVersions(m *Model) (err error) {
	name := m.Config.Name
	if owner := m.Config.Parameters[QueueOf].StringValue; owner != "" {
		if owner == name {
			return fmt.Errorf("model '%s' names itself as the model whose queue it shares", name)
		}
		if m.Owner, err = r.Model(owner); err != nil {
			return fmt.Errorf("the model whose queue '%s' shares: %w", name, err)
		}
		if m.Owner.Owner != nil {
			return fmt.Errorf("model '%s' shares the queue of '%s', which has none of its own", name, owner)
		}
		m.Exist = m.Owner.Versions
	} else if m.Exist, err = versions(m.Dir); err != nil {
		return err
	}
	m.Versions, err = m.Config.VersionPolicy.Select(name, m.Exist)
	return err
}

// checkName refuses what is not the name of a folder in the repository.
func checkName(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("model '%s' has an invalid name", name)
	}
	return nil
}

// find returns the model's folder; a name never leaves the repository.
func (r *Repository) find(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
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

// File is the model file of a version, or its folder where the configuration names none.
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
