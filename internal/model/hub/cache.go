package hub

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cache is one repository's part of the cache folder.
type cache struct{ root, repo string }

func (c cache) dir() string {
	return filepath.Join(c.root, "models--"+strings.ReplaceAll(c.repo, "/", "--"))
}

func (c cache) snapshot(commit string) string { return filepath.Join(c.dir(), "snapshots", commit) }

func (c cache) blob(etag string) string { return filepath.Join(c.dir(), "blobs", etag) }

func (c cache) lock(etag string) string {
	return filepath.Join(c.root, ".locks", filepath.Base(c.dir()), etag+".lock")
}

// complete returns the snapshot of a revision if it has all wanted files.
func (c cache) complete(revision string, files []Want) (string, bool) {
	commit := revision
	if !commitPattern.MatchString(commit) {
		text, err := os.ReadFile(filepath.Join(c.dir(), "refs", filepath.FromSlash(revision)))
		commit = strings.TrimSpace(string(text))
		if err != nil || !commitPattern.MatchString(commit) {
			return "", false
		}
	}
	dir := c.snapshot(commit)
	for _, w := range files {
		if !hasOne(dir, w) {
			return "", false
		}
	}
	return dir, true
}

func hasOne(dir string, w Want) bool {
	for _, name := range w.Names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// setRef notes which commit a revision is; a revision that is a commit needs no note.
func (c cache) setRef(revision, commit string) error {
	if revision == commit {
		return nil
	}
	path := filepath.Join(c.dir(), "refs", filepath.FromSlash(revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replace(path, func(tmp string) error { return os.WriteFile(tmp, []byte(commit), 0o644) })
}

// link points snapshots/<commit>/<name> at a blob. Where symbolic links cannot be made the blob moves
// there, as Python's library does.
func (c cache) link(commit, name, etag string) error {
	path := filepath.Join(c.snapshot(commit), name)
	target := filepath.Join("..", "..", "blobs", etag)
	if have, err := os.Readlink(path); err == nil && have == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	err := replace(path, func(tmp string) error { return os.Symlink(target, tmp) })
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		return os.Rename(c.blob(etag), path)
	}
	return err
}

// replace makes a file under a temporary name and renames it into place.
func replace(path string, make func(tmp string) error) error {
	tmp := path + "." + rand.Text() + ".tmp"
	if err := make(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
