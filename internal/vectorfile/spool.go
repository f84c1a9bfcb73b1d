package vectorfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// spool is a partial file that only grows, buffered.
type spool struct {
	path string
	f    *os.File
	w    *bufio.Writer
	size int64
}

func openSpool(path string) (*spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	return &spool{path: path, f: f, w: bufio.NewWriterSize(f, 1<<18)}, nil
}

// truncate forgets what follows the first size bytes.
func (s *spool) truncate(size int64) error {
	st, err := s.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < size {
		return fmt.Errorf("%s has %d bytes, its journal says %d: it was changed; start over", s.path, st.Size(), size)
	}
	if err := s.f.Truncate(size); err != nil {
		return err
	}
	_, err = s.f.Seek(size, 0)
	s.size = size
	return err
}

func (s *spool) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.size += int64(n)
	return n, err
}

// sync puts everything written on the disk and returns the file's size.
func (s *spool) sync() (int64, error) {
	if err := s.w.Flush(); err != nil {
		return 0, err
	}
	return s.size, s.f.Sync()
}

func (s *spool) close() error {
	if err := s.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Endings of the partial files' names.
const (
	partial      = ".partial"
	indexPartial = ".index.partial"
)

// rename gives a sealed file its final name. A file that an earlier, interrupted completion already
// renamed is left as it is.
func rename(from, final string) error {
	err := os.Rename(from, final)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(final); statErr == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(final))
}

// syncFolder puts a folder's entries on the disk: without it a rename may not survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
