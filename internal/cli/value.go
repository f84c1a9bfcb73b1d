package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Bytes is a flag's value that counts bytes: a number with an optional unit, binary (KiB, MiB, GiB) or
// decimal (kB, MB, GB).
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// String is the value in the largest binary unit that divides it.
func (b *Bytes) String() string {
	for _, u := range byteUnits[:3] {
		if n := int64(*b); n != 0 && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Set parses "16MiB", "1.5 GB" or "4096".
func (b *Bytes) Set(s string) error {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(s[len(digits):])
	n, err := strconv.ParseFloat(digits, 64)
	for _, u := range byteUnits {
		if err == nil && strings.EqualFold(u.name, unit) && n >= 0 && n*float64(u.size) < math.MaxInt64 {
			*b = Bytes(n * float64(u.size))
			return nil
		}
	}
	return fmt.Errorf("want bytes, such as 4096, 512KiB, 16MiB or 1.5GB")
}

// Type is the placeholder in help.
func (b *Bytes) Type() string { return "bytes" }

// Choice is a flag's value that is one of a few words.
type Choice struct {
	value *string
	words []string
}

// NewChoice is a flag value kept in p that accepts words and starts as def.
func NewChoice(p *string, def string, words ...string) *Choice {
	*p = def
	return &Choice{p, words}
}

func (c *Choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Set accepts one of the words.
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
	}
	*c.value = s
	return nil
}

// Type is the placeholder in help: the words themselves. Those that add a colon and something to another
// stand behind it: a|b[:c|d].
func (c *Choice) Type() string {
	var heads []string
	tails := map[string][]string{}
	for _, w := range c.words {
		head, tail, ok := strings.Cut(w, ":")
		if ok && slices.Contains(c.words, head) {
			tails[head] = append(tails[head], tail)
			continue
		}
		heads = append(heads, w)
	}
	for i, head := range heads {
		if t := tails[head]; t != nil {
			heads[i] += "[:" + strings.Join(t, "|") + "]"
		}
	}
	return strings.Join(heads, "|")
}

// Words are the accepted values, for completion.
func (c *Choice) Words() []string { return c.words }

// Count is a flag's value that is a whole number within bounds.
type Count struct {
	value    *int
	min, max int
}

// NewCount is a flag value kept in p that accepts min to max and starts as def.
func NewCount(p *int, def, min, max int) *Count {
	*p = def
	return &Count{p, min, max}
}

func (c *Count) String() string {
	if c.value == nil {
		return "0"
	}
	return strconv.Itoa(*c.value)
}

// Set accepts a whole number within the bounds.
func (c *Count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < c.min || n > c.max {
		if c.max == math.MaxInt {
			return fmt.Errorf("want a whole number of at least %d", c.min)
		}
		return fmt.Errorf("want a whole number from %d to %d", c.min, c.max)
	}
	*c.value = n
	return nil
}

// Type is the placeholder in help.
func (c *Count) Type() string { return "n" }

var (
	_ pflag.Value = (*Bytes)(nil)
	_ pflag.Value = (*Choice)(nil)
	_ pflag.Value = (*Count)(nil)
)
