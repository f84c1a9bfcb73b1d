package door

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys are the API keys that open the door. Only their hashes are held: a dump of memory or a log of
// this value gives no key away.
type Keys struct{ all []key }

type key struct {
	name string
	hash [sha256.Size]byte
}

// shortestKey is the least that a key in clear is made of; shorter ones are guessed.
const shortestKey = 8

// ParseKeys reads one key a line: "name:key", or "name:sha256:<64 hex digits>" of the key's SHA-256 for
// files that are not to hold it. Empty lines and those that begin with # are passed over. Errors name
// the line and never what it holds.
func ParseKeys(text []byte) (*Keys, error) {
	k := &Keys{}
	seen := map[[sha256.Size]byte]bool{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		entry, err := parseKey(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if seen[entry.hash] {
			return nil, fmt.Errorf("line %d: the key was given before, to another name or the same", n)
		}
		seen[entry.hash] = true
		k.all = append(k.all, entry)
	}
	if len(k.all) == 0 {
		return nil, errors.New("no key: nobody could come in; write one as name:key")
	}
	return k, nil
}

func parseKey(line string) (k key, err error) {
	name, secret, ok := strings.Cut(line, ":")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return k, errors.New("want name:key, or name:sha256:<hex>")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return k, errors.New("a key's name is printable: it is written to the log")
	}
	k.name = name
	if digits, hashed := strings.CutPrefix(secret, "sha256:"); hashed {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != sha256.Size {
			return k, errors.New("sha256: wants 64 hexadecimal digits")
		}
		k.hash = [sha256.Size]byte(b)
		return k, nil
	}
	if len(secret) < shortestKey {
		return k, fmt.Errorf("a key has at least %d characters", shortestKey)
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return k, errors.New("a key is made of printable ASCII without spaces: it travels in a header")
	}
	k.hash = sha256.Sum256([]byte(secret))
	return k, nil
}

// Name is the name of a key; false for one that opens nothing. Its time does not depend on how much of
// which key is right: hashes are compared, all of them, each in constant time.
func (k *Keys) Name(secret string) (name string, ok bool) {
	hash := sha256.Sum256([]byte(secret))
	found := -1
	for i := range k.all {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k.all[i].hash[:], hash[:]), i, found)
	}
	if found < 0 {
		return "", false
	}
	return k.all[found].name, true
}

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.all) }
