package repository

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Stamp is a mark of a model's files, and of those of the model whose queue it shares: it changes when
// one is written, added or removed. Polling loads a model again when its stamp does.
func (r *Repository) Stamp(name string) (string, error) {
	h := fnv.New64a()
	dir, err := r.find(name)
	if err != nil {
		return "", err
	}
	if err := stampFiles(h, dir); err != nil {
		return "", err
	}
	if owner := queueOf(dir); owner != "" && owner != name {
		if dir, err := r.find(owner); err == nil {
			if err := stampFiles(h, dir); err != nil {
				return "", err
			}
		}
	}
	return text(h), nil
}

// queueOf is the model whose queue the model in a folder shares; "" for none, and where the
// configuration cannot be read.
func queueOf(dir string) string {
	b, err := readLimited(filepath.Join(dir, configFile))
	if err != nil {
		return ""
	}
	c, err := Parse(b)
	if err != nil {
		return ""
	}
	return c.Parameters[QueueOf].StringValue
}

// VersionStamp is a mark of what a version is made of: the configuration that decides over its engine
// and its queue, and its files.
func (m *Model) VersionStamp(version int64) (string, error) {
	h := fnv.New64a()
	if err := json.NewEncoder(h).Encode(m.Config); err != nil {
		return "", err
	}
	err := stampFiles(h, m.VersionDir(version))
	return text(h), err
}

// ConfigStamp is a mark of the configuration and the files beside it, such as labels and warm-up data.
func (m *Model) ConfigStamp() (string, error) {
	h := fnv.New64a()
	if err := json.NewEncoder(h).Encode(m.Config); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(m.Dir)
	for _, e := range entries {
		if _, version := parseVersion(e.Name()); err == nil && !version && e.Name() != configFile {
			err = stampFiles(h, filepath.Join(m.Dir, e.Name()))
		}
	}
	return text(h), err
}

func text(h hash.Hash64) string { return strconv.FormatUint(h.Sum64(), 16) }

// stampFiles writes names, sizes, times and modes of all files below a path.
func stampFiles(w io.Writer, root string) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went away in between: the next look sees it
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 { // what a link leads to is what is loaded
			if target, err := filepath.EvalSymlinks(path); err == nil {
				fmt.Fprintln(w, target)
			}
			if target, err := os.Stat(path); err == nil {
				info = target
			}
		}
		fmt.Fprintln(w, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
}
