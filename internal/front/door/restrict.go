package door

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Group is a part of the protocol that can be restricted, by Triton's name of it.
type Group string

// The groups.
const (
	Health          Group = "health"
	Metadata        Group = "metadata"
	Inference       Group = "inference"
	SharedMemory    Group = "shared-memory"
	ModelConfig     Group = "model-config"
	ModelRepository Group = "model-repository"
	Statistics      Group = "statistics"
	Trace           Group = "trace"
	Logging         Group = "logging"
)

// Groups are all groups.
var Groups = []Group{Health, Metadata, Inference, SharedMemory, ModelConfig, ModelRepository, Statistics, Trace, Logging}

// Restrictions are the headers that groups ask for.
type Restrictions map[Group]restriction

type restriction struct{ key, value string }

// met tells whether the header is there once, with the value.
func (r restriction) met(values []string) bool {
	return len(values) == 1 && subtle.ConstantTimeCompare([]byte(values[0]), []byte(r.value)) == 1
}

// Add reads a restriction as Triton's options have it, "group1,group2:key=value".
func (r Restrictions) Add(text string) error {
	groups, header, ok := strings.Cut(text, ":")
	key, value, both := strings.Cut(header, "=")
	if !ok || !both || key == "" || value == "" {
		return errors.New("want GROUP[,GROUP...]:HEADER=VALUE")
	}
	if strings.ContainsFunc(key, notToken) {
		return fmt.Errorf("%q cannot be the name of a header", key)
	}
	for name := range strings.SplitSeq(groups, ",") {
		g := Group(name)
		if !slices.Contains(Groups, g) {
			return fmt.Errorf("there is no group %q; there are %s", name, list())
		}
		if _, twice := r[g]; twice {
			return fmt.Errorf("the group %q is restricted twice", name)
		}
		r[g] = restriction{key, value}
	}
	return nil
}

// SplitList puts a space for each comma that is between restrictions and not between groups: one that
// stands behind a header's value and before groups with their colon.
func SplitList(text string) string {
	b := []byte(text)
	for i, start := 0, 0; i < len(b); i++ {
		if b[i] == ' ' {
			start = i + 1
		}
		if b[i] != ',' || !strings.Contains(text[start:i], "=") {
			continue
		}
		names, _, ok := strings.Cut(text[i+1:], ":")
		if ok && !slices.ContainsFunc(strings.Split(names, ","), func(n string) bool { return !slices.Contains(Groups, Group(n)) }) {
			b[i], start = ' ', i+1
		}
	}
	return string(b)
}

// notToken tells characters that header names do not have (RFC 9110, section 5.6.2).
func notToken(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}

func list() string {
	names := make([]string, len(Groups))
	for i, g := range Groups {
		names[i] = string(g)
	}
	return strings.Join(names, ", ")
}
