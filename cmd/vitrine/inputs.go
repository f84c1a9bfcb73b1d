package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// imageSuffixes are the names that a folder's images have. A file named by itself is read whatever
// its name is.
var imageSuffixes = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif"}

// listInputs turns what was typed into files, in the order typed: a file is itself, a folder is all
// its images below it, sorted by name, a pattern is what it matches, sorted. A file that does not
// exist stays in the list: it keeps its row.
func listInputs(args []string, listFile string) ([]string, error) {
	var files []string
	for _, arg := range args {
		found, err := expand(arg)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	if listFile != "" {
		listed, err := readList(listFile)
		if err != nil {
			return nil, err
		}
		files = append(files, listed...)
	}
	if len(files) == 0 {
		return nil, cli.Usage{Err: fmt.Errorf("no images: name files, folders or patterns, or a list with --files-from")}
	}
	return files, nil
}

func expand(arg string) ([]string, error) {
	st, err := os.Stat(arg)
	switch {
	case err == nil && st.IsDir():
		return walk(arg)
	case err == nil || !strings.ContainsAny(arg, "*?["):
		return []string{arg}, nil
	}
	found, err := filepath.Glob(arg)
	if err != nil {
		return nil, cli.Usage{Err: fmt.Errorf("%s: %w", arg, err)}
	}
	if len(found) == 0 {
		return nil, cli.Usage{Err: fmt.Errorf("%s: nothing matches", arg)}
	}
	slices.Sort(found)
	var files []string
	for _, f := range found {
		if st, err := os.Stat(f); err == nil && st.IsDir() {
			below, err := walk(f)
			if err != nil {
				return nil, err
			}
			files = append(files, below...)
			continue
		}
		files = append(files, f)
	}
	return files, nil
}

// walk lists a folder's images, sorted, without what is hidden.
func walk(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != root && strings.HasPrefix(d.Name(), ".")
		switch {
		case d.IsDir() && hidden && d.Name() != "..":
			return filepath.SkipDir
		case !d.IsDir() && !hidden && slices.Contains(imageSuffixes, strings.ToLower(filepath.Ext(path))):
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = cli.Usage{Err: fmt.Errorf("%s: no %s below it", root, strings.Join(imageSuffixes, ", "))}
	}
	return files, err
}

// readList reads a file of paths, one a line; "-" is standard input.
func readList(path string) ([]string, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, cli.Usage{Err: fmt.Errorf("--files-from: %w", err)}
		}
		defer f.Close()
	}
	return lines(f)
}

func lines(r io.Reader) ([]string, error) {
	var all []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		if line := strings.TrimSuffix(s.Text(), "\r"); line != "" {
			all = append(all, line)
		}
	}
	return all, s.Err()
}

// digest identifies a list of inputs and their order.
func digest(files []string) string {
	h := sha256.New()
	for _, f := range files {
		_ = binary.Write(h, binary.LittleEndian, uint64(len(f))) // a hash takes everything
		io.WriteString(h, f)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
