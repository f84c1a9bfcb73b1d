package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a study's file: a plan is written by hand.
const maxFile = 1 << 20

// Load reads and checks a study. set are variables that take the place of the file's; ${study} is the
// file's folder. The text is returned too, for the record.
func Load(path string, set map[string]string) (*Study, string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	known := maps.Clone(set)
	if known == nil {
		known = map[string]string{}
	}
	known["study"] = cmp.Or(known["study"], dir)
	s, err := Parse(path, text, known)
	return s, string(text), err
}

// Parse reads and checks a study; every error names its line. name is the file's, for errors.
func Parse(name string, text []byte, set map[string]string) (*Study, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes are too many for a study", name, len(text))
	}
	var s Study
	if err := yaml.Load(text, &s, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := checker{name: name, doc: &doc, study: &s}
	s.expandVariables(set, &c)
	c.check()
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return &s, nil
}

var variable = regexp.MustCompile(`\$\{([a-z_]+)\}`)

// expandVariables replaces ${name} in servers and targets. A variable's own text may hold others that
// are set from outside.
func (s *Study) expandVariables(set map[string]string, c *checker) {
	values := maps.Clone(set)
	if values == nil {
		values = map[string]string{}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Variables)) {
		if _, given := set[k]; !given {
			values[k] = substitute(s.Variables[k], set, func(v string) { c.fail("unknown variable ${"+v+"}", "variables", k) })
		}
	}
	for i := range s.Servers {
		v := &s.Servers[i]
		for key, field := range map[string]*string{"start": &v.Start, "ready": &v.Ready, "metrics": &v.Metrics, "device_metrics": &v.DeviceMetrics} {
			*field = substitute(*field, values, func(name string) { c.fail("unknown variable ${"+name+"}", "servers", i, key) })
		}
		for j := range v.Needs {
			v.Needs[j] = substitute(v.Needs[j], values, func(name string) { c.fail("unknown variable ${"+name+"}", "servers", i, "needs", j) })
		}
		for edition, files := range v.NeedsIn {
			for j := range files {
				files[j] = substitute(files[j], values, func(name string) { c.fail("unknown variable ${"+name+"}", "servers", i, "needs_in", edition, j) })
			}
		}
		for k := range v.Env {
			v.Env[k] = substitute(v.Env[k], values, func(name string) { c.fail("unknown variable ${"+name+"}", "servers", i, "env", k) })
		}
	}
	for i := range s.Targets {
		t := &s.Targets[i]
		for key, field := range map[string]*string{"url": &t.URL, "metrics": &t.Metrics, "device_metrics": &t.DeviceMetrics, "model": &t.Model} {
			*field = substitute(*field, values, func(name string) { c.fail("unknown variable ${"+name+"}", "targets", i, key) })
		}
		for j := range t.Engine.Flags {
			t.Engine.Flags[j] = substitute(t.Engine.Flags[j], values, func(name string) { c.fail("unknown variable ${"+name+"}", "targets", i, "engine", "flags", j) })
		}
	}
}

func substitute(text string, values map[string]string, unknown func(string)) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-1]
		v, ok := values[name]
		if !ok {
			unknown(name)
		}
		return v
	})
}

// line finds where a key or an element stands: keys are strings, elements numbers. A path that does not
// exist gives the line of the nearest part that does.
func line(n *yaml.Node, path ...any) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		return line(n.Content[0], path...)
	}
	if len(path) == 0 {
		return n.Line
	}
	switch p := path[0].(type) {
	case string:
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			if n.Content[i].Value == p && len(path) == 1 {
				return n.Content[i].Line
			}
			if n.Content[i].Value == p {
				return line(n.Content[i+1], path[1:]...)
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && p < len(n.Content) {
			return line(n.Content[p], path[1:]...)
		}
	}
	return n.Line
}

func list(words []string) string { return strings.Join(words, ", ") }
