package vectorfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// MaxFailures is how many failed rows a journal names; all of them are in the output.
const MaxFailures = 1000

// Failure is a row without a vector.
type Failure struct {
	Row   int    `json:"row"`
	Path  string `json:"path"`
	Error string `json:"error"`
}

const journalMagic = "vitrine-embed-journal"

// journalHeader is the first line: what this run is.
type journalHeader struct {
	Journal string `json:"journal"`
	Version int    `json:"version"`
	Format  string `json:"format"`
	Info    Info   `json:"info"`
	Inputs  string `json:"inputs"`
}

// checkpoint is every other line: what is safely on disk. The last whole line counts; a line that a
// crash cut short is dropped.
type checkpoint struct {
	Rows     int       `json:"rows"`
	Sizes    []int64   `json:"sizes"` // of the partial files
	Failed   int       `json:"failed"`
	New      []Failure `json:"failures,omitempty"` // since the line before
	Complete bool      `json:"complete,omitempty"` // nothing follows but giving the files their names
}

type journal struct {
	path     string
	f        *os.File
	last     checkpoint
	pending  []Failure
	failures []Failure
	removed  bool
}

// ErrOther is an interrupted run that is not the one asked for.
var ErrOther = errors.New("an interrupted run with other inputs or another model was here")

// ErrBusy is an output that another process is writing.
var ErrBusy = errors.New("another process is writing this output")

func openJournal(path string, h journalHeader, overwrite bool) (*journal, error) {
	h.Journal, h.Version = journalMagic, 1
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, f: f}
	if err := j.open(h, overwrite); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return j, nil
}

func (j *journal) open(h journalHeader, overwrite bool) error {
	if err := lock(j.f); err != nil {
		return ErrBusy
	}
	if overwrite {
		if err := j.f.Truncate(0); err != nil {
			return err
		}
	}
	end, err := j.read(h)
	if err != nil {
		return err
	}
	if err := j.f.Truncate(end); err != nil {
		return err
	}
	if _, err := j.f.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end > 0 {
		return nil
	}
	if err := j.line(h); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(j.path))
}

// read takes over an earlier run's state and returns where its last whole line ends.
func (j *journal) read(want journalHeader) (end int64, err error) {
	r := bufio.NewReader(j.f)
	first, err := r.ReadBytes('\n')
	if err != nil {
		return 0, nil // empty, or cut short before the first checkpoint
	}
	var got journalHeader
	if json.Unmarshal(first, &got) != nil || got.Journal != journalMagic {
		return 0, errors.New("not a journal of this program; move it away")
	}
	if got != want {
		return 0, fmt.Errorf("%w (%s)", ErrOther, difference(got, want))
	}
	for end = int64(len(first)); ; {
		line, err := r.ReadBytes('\n')
		var c checkpoint
		if err != nil || json.Unmarshal(line, &c) != nil {
			return end, nil
		}
		end += int64(len(line))
		j.last = c
		j.remember(c.New)
	}
}

// difference names the first thing in which two runs differ.
func difference(got, want journalHeader) string {
	switch {
	case got.Version != want.Version:
		return fmt.Sprintf("journal version %d, this program writes %d", got.Version, want.Version)
	case got.Info.Space != want.Info.Space:
		return fmt.Sprintf("it made vectors of space %s, this one makes %s", got.Info.Space, want.Info.Space)
	case got.Info != want.Info:
		return "the model is described differently"
	case got.Format != want.Format:
		return fmt.Sprintf("it wrote %s, this one writes %s", got.Format, want.Format)
	}
	return "the list of files or an option is not the same"
}

func (j *journal) remember(f []Failure) {
	room := MaxFailures - len(j.failures)
	j.failures = append(j.failures, f[:min(len(f), room)]...)
}

func (j *journal) fail(f Failure) {
	j.last.Failed++
	j.remember([]Failure{f})
	if j.last.Failed <= MaxFailures {
		j.pending = append(j.pending, f)
	}
}

func (j *journal) checkpoint(rows int, sizes []int64, complete bool) error {
	c := checkpoint{Rows: rows, Sizes: sizes, Failed: j.last.Failed, New: j.pending, Complete: complete}
	if err := j.line(c); err != nil {
		return err
	}
	j.pending, j.last = nil, c
	return nil
}

// line appends a value and puts it on the disk.
func (j *journal) line(v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	if _, err := j.f.Write(b.Bytes()); err != nil {
		return err
	}
	return j.f.Sync()
}

func (j *journal) remove() error {
	j.removed = true
	return errors.Join(os.Remove(j.path), j.close())
}

func (j *journal) close() error {
	if err := j.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
