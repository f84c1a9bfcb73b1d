package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// maxConfigFile bounds a configuration file, bytes.
const maxConfigFile = 1 << 20

// object is a JSON object of a configuration file, read key by key. The first problem is kept in err,
// with the file and the key's path, so that a reader asks for all it needs and looks once.
type object struct {
	file   string
	path   string // "model_cfg.vision_cfg."
	values map[string]json.RawMessage
	used   map[string]bool
	err    *error
}

// A configDir is where configuration files are read from: a folder, or in tests a map.
type configDir struct {
	path string
	read func(path string) ([]byte, error)
}

func inFolder(path string) configDir { return configDir{path, readLimited} }

// object reads a JSON file whose content is one object. A missing file is an fs.ErrNotExist.
func (d configDir) object(name string) (object, error) {
	path := filepath.Join(d.path, name)
	text, err := d.read(path)
	if err != nil {
		return object{}, err
	}
	o := object{file: path, used: map[string]bool{}, err: new(error)}
	if err := json.Unmarshal(text, &o.values); err != nil {
		return object{}, fmt.Errorf("%s: not a JSON object: %w", path, err)
	}
	return o, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = errors.New("larger than 1 MiB, which no configuration is")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

func (o object) fail(key, format string, args ...any) {
	if *o.err == nil {
		*o.err = fmt.Errorf("%s: %s%s: %w", o.file, o.path, key, fmt.Errorf(format, args...))
	}
}

// refuse notes that key makes this an architecture that is not supported.
func (o object) refuse(key, what string) { o.fail(key, "%s: %w", what, ErrUnsupported) }

// has tells whether key is there and not null, and counts it as read.
func (o object) has(key string) bool {
	o.used[key] = true
	v, ok := o.values[key]
	return ok && string(v) != "null"
}

// get decodes key into v; an absent or null key leaves v alone.
func (o object) get(key string, v any, want string) {
	if o.has(key) && json.Unmarshal(o.values[key], v) != nil {
		o.fail(key, "want %s, got %s", want, abbreviate(o.values[key]))
	}
}

func abbreviate(v json.RawMessage) string {
	if len(v) > 40 {
		return string(v[:40]) + "..."
	}
	return string(v)
}

func (o object) int(key string, otherwise int) int {
	o.get(key, &otherwise, "an integer")
	return otherwise
}

func (o object) float(key string, otherwise float64) float64 {
	o.get(key, &otherwise, "a number")
	return otherwise
}

func (o object) bool(key string, otherwise bool) bool {
	o.get(key, &otherwise, "true or false")
	return otherwise
}

func (o object) str(key, otherwise string) string {
	o.get(key, &otherwise, "a string")
	return otherwise
}

func (o object) need(keys ...string) {
	for _, key := range keys {
		if !o.has(key) {
			o.fail(key, "missing")
		}
	}
}

// rgb reads three numbers.
func (o object) rgb(key string, otherwise [3]float32) [3]float32 {
	var list []float32
	o.get(key, &list, "three numbers")
	if list == nil {
		return otherwise
	}
	if len(list) != 3 {
		o.fail(key, "want three numbers, got %s", abbreviate(o.values[key]))
		return otherwise
	}
	return [3]float32(list)
}

// square reads a side length: n or [n, n].
func (o object) square(key string, otherwise int) int {
	if !o.has(key) {
		return otherwise
	}
	var pair []int
	if json.Unmarshal(o.values[key], &pair) != nil {
		return o.int(key, otherwise)
	}
	if len(pair) != 2 || pair[0] != pair[1] {
		o.refuse(key, "input or patches that are not square")
		return otherwise
	}
	return pair[0]
}

// sub is the object under key; an absent key is an empty object.
func (o object) sub(key string) object {
	s := object{file: o.file, path: o.path + key + ".", used: map[string]bool{}, err: o.err}
	o.get(key, &s.values, "an object")
	return s
}

// truthy is Python's truth of a value: not null, false, 0, "" or empty.
func (o object) truthy(key string) bool {
	if !o.has(key) {
		return false
	}
	return !slices.Contains([]string{"false", "0", "0.0", `""`, "[]", "{}"}, string(o.values[key]))
}

// noneLeft refuses keys that nobody has read: they might change what the model computes.
func (o object) noneLeft() {
	for _, key := range slices.Sorted(maps.Keys(o.values)) {
		if !o.used[key] {
			o.refuse(key, "a setting that this version does not know and might change the embedding")
		}
	}
}
