package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// FileVersion is the version of the configuration file that this program reads; the file says
// `version: 1` so that a later program can tell what an old file meant.
const FileVersion = "1"

// entry is one key's value as the command line would have it, and the line that it stands on.
type entry struct {
	value string
	line  int
}

// parse reads a file: a mapping of flag names to scalars, or to lists for flags that take one.
func (b Binder) parse(path string, text []byte) (map[string]entry, error) {
	root, err := document(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entries, errs := map[string]entry{}, []error{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		value, err := b.entry(key.Value, node)
		if _, twice := entries[key.Value]; twice {
			err = fmt.Errorf("key %q stands here a second time", key.Value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, key.Line, err))
			continue
		}
		entries[key.Value] = entry{value, key.Line}
	}
	return entries, errors.Join(append(errs, checkVersion(path, entries))...)
}

func (b Binder) entry(key string, node *yaml.Node) (string, error) {
	if key != "version" && !b.Known(key) {
		return "", fmt.Errorf("unknown key %q%s", key, suggest(key, b.Flags))
	}
	value, ok := scalar(node)
	if !ok {
		return "", fmt.Errorf("%s: want one value or a list of values", key)
	}
	return value, nil
}

// document returns the top mapping of a file that holds exactly one document; an empty file is an empty mapping.
func document(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want `key: value` lines", root.Line)
	}
	return root, nil
}

// scalar is a node as a flag's text: a scalar as it is written, a list joined by commas. The word null
// is a word here (an engine has that name); no value at all is none.
func scalar(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, n.Tag != "!!null" || n.Value == "null"
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return "", false
			}
			parts[i] = c.Value
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

func checkVersion(path string, entries map[string]entry) error {
	v, ok := entries["version"]
	switch {
	case !ok:
		return fmt.Errorf("%s: the line `version: %s` is missing", path, FileVersion)
	case v.value != FileVersion:
		return fmt.Errorf("%s:%d: version %s is not known to this program, which reads version %s", path, v.line, v.value, FileVersion)
	}
	return nil
}

// suggest is ` (did you mean "x"?)` for the nearest known name within a third of its length, or "".
func suggest(name string, known []string) string {
	best, distance := "", len(name)/3+1
	for _, k := range known {
		if d := editDistance(name, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is Levenshtein's: insertions, deletions and substitutions, one each.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{substitute, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}
