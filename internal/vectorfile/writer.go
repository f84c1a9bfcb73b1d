package vectorfile

import (
	"errors"
	"fmt"
	"os"
)

// Options say what to write and what an earlier run must have been to be continued.
type Options struct {
	Output string
	Info   Info
	// Inputs identifies the run's inputs, their order and everything else that decides its rows.
	Inputs string
	// Overwrite discards a finished file of the same name, or an interrupted run's rows.
	Overwrite bool
}

// sink is one format's files: bytes go in at the end, and a checkpoint's sizes take them back.
type sink interface {
	// files are the partial files in a fixed order.
	files() []*spool
	append(n int, r Row) error
	// seal ends the partial files: nothing follows after it.
	seal(rows int) error
}

// Writer appends rows to one output. It is not safe for concurrent use.
type Writer struct {
	sink    sink // nil where an earlier run ended while it completed its files
	journal *journal
	options Options
	format  Format
	rows    int
	clean   bool // everything appended is in the journal
}

// Open starts an output, or continues an interrupted one; Rows tells how far it had come.
func Open(o Options) (*Writer, error) {
	format, err := FormatOf(o.Output)
	if err != nil {
		return nil, err
	}
	if err := vacant(o); err != nil {
		return nil, err
	}
	j, err := openJournal(o.Output+".journal", journalHeader{
		Format: string(format), Info: o.Info, Inputs: o.Inputs,
	}, o.Overwrite)
	if err != nil {
		return nil, err
	}
	w := &Writer{journal: j, options: o, format: format, rows: j.last.Rows, clean: true}
	if j.last.Complete {
		return w, nil
	}
	if w.sink, err = openSink(format, o); err == nil {
		err = w.restore(j.last)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// vacant fails if a finished output would be replaced without leave.
func vacant(o Options) error {
	if _, err := os.Stat(o.Output); err != nil || o.Overwrite {
		return nil
	}
	if _, err := os.Stat(o.Output + ".journal"); err == nil {
		return nil // a run that was interrupted while it completed its files
	}
	return fmt.Errorf("%s exists: %w", o.Output, os.ErrExist)
}

func openSink(f Format, o Options) (sink, error) {
	if f == JSONL {
		return openJSONL(o)
	}
	return openNPY(o) // Parquet too, until it is complete: see publishParquet
}

// restore cuts every partial file back to the last checkpoint.
func (w *Writer) restore(c checkpoint) error {
	files := w.sink.files()
	if len(c.Sizes) == 0 {
		c.Sizes = make([]int64, len(files))
	}
	if len(c.Sizes) != len(files) {
		return fmt.Errorf("%s: a checkpoint of %d files, want %d", w.journal.path, len(c.Sizes), len(files))
	}
	for i, f := range files {
		if err := f.truncate(c.Sizes[i]); err != nil {
			return err
		}
	}
	return nil
}

// Rows is the number of rows written, an earlier run's included.
func (w *Writer) Rows() int { return w.rows }

// Failed is the number of rows without a vector, an earlier run's included.
func (w *Writer) Failed() int { return w.journal.last.Failed }

// Failures are the first rows without a vector, at most MaxFailures.
func (w *Writer) Failures() []Failure { return w.journal.failures }

// Append adds rows after those already written.
func (w *Writer) Append(rows ...Row) error {
	if w.sink == nil {
		return errComplete
	}
	for _, r := range rows {
		if r.Err == "" && len(r.Vector) != w.options.Info.Dim {
			return fmt.Errorf("row %d has %d floats, want %d", w.rows, len(r.Vector), w.options.Info.Dim)
		}
		if err := w.sink.append(w.rows, r); err != nil {
			return err
		}
		w.clean = false
		if r.Err != "" {
			w.journal.fail(Failure{Row: w.rows, Path: r.Path, Error: r.Err})
		}
		w.rows++
	}
	return nil
}

// Checkpoint makes everything appended survive a crash of the process or the machine.
func (w *Writer) Checkpoint() error {
	if w.clean {
		return nil
	}
	if err := w.checkpoint(false); err != nil {
		return err
	}
	w.clean = true
	return nil
}

func (w *Writer) checkpoint(complete bool) error {
	var sizes []int64
	for _, f := range w.sink.files() {
		size, err := f.sync()
		if err != nil {
			return err
		}
		sizes = append(sizes, size)
	}
	return w.journal.checkpoint(w.rows, sizes, complete)
}

// Finish completes the output under its final name and removes the journal.
func (w *Writer) Finish() error {
	if w.sink != nil {
		if err := w.sink.seal(w.rows); err != nil {
			return err
		}
		if err := w.checkpoint(true); err != nil {
			return err
		}
		w.clean = true
	}
	if err := w.closeFiles(); err != nil {
		return err
	}
	if err := w.publish(); err != nil {
		return err
	}
	return w.journal.remove()
}

var errComplete = errors.New("the output is complete")

// publish gives the sealed files their final names. It goes by names alone, so that it can be done
// again after a crash in the middle of it.
func (w *Writer) publish() error {
	o := w.options.Output
	switch w.format {
	case JSONL:
		return rename(o+partial, o)
	case Parquet:
		return publishParquet(w.options, w.rows)
	}
	return errors.Join(rename(o+indexPartial, o+".index.jsonl"), rename(o+partial, o))
}

// Close makes a checkpoint and leaves the rest to a later run. After Finish it does nothing.
func (w *Writer) Close() error {
	var err error
	if w.sink != nil && !w.journal.removed {
		err = w.Checkpoint()
	}
	return errors.Join(err, w.closeFiles(), w.journal.close())
}

func (w *Writer) closeFiles() error {
	if w.sink == nil {
		return nil
	}
	var errs []error
	for _, f := range w.sink.files() {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}
