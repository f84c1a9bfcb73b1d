package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// flushEvery bounds what a killed process loses.
	flushEvery = time.Second
	// flushBytes bounds what waits in memory.
	flushBytes = 1 << 20
	// lineRequests is how many requests share a line: enough to pay for its keys, small to read.
	lineRequests = 4096
)

// Writer appends events to a record. It is safe for concurrent use. What is written is out after a
// second at the latest, as a zstd frame of its own: whatever happens to the process then, the file can be
// read up to there.
type Writer struct {
	mu       sync.Mutex
	out      io.Writer
	closer   io.Closer
	zstd     *zstd.Encoder // nil: plain JSON Lines
	lines    []byte        // not yet out
	frame    []byte
	err      error
	logs     []*RequestLog
	list     []Request // gathered for one line, all of listCell
	listCell int
	cols     *columnEncoder
	began    time.Time // Manifest.Started
	closed   bool

	blocks blockPool
	fulls  atomic.Int32 // full blocks since the last flush
	wake   chan struct{}
	stop   chan struct{}
	once   sync.Once // closes stop
	done   chan struct{}
}

// Create makes a new file. It never overwrites one. The name says the format: .jsonl.zst or .jsonl; "-" is
// standard output, plain.
func Create(path string) (*Writer, error) {
	if path == "-" {
		return NewWriter(os.Stdout, false), nil
	}
	compress, err := compressed(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("record: %s exists; records are never overwritten", path)
	}
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	w := NewWriter(f, compress)
	w.closer = f
	return w, nil
}

func compressed(path string) (bool, error) {
	switch {
	case strings.HasSuffix(path, ".jsonl.zst"):
		return true, nil
	case strings.HasSuffix(path, ".jsonl"):
		return false, nil
	default:
		return false, fmt.Errorf("record: %s: the name must end in .jsonl.zst or .jsonl", path)
	}
}

// NewWriter writes to out, which it does not close.
func NewWriter(out io.Writer, compress bool) *Writer {
	w := &Writer{
		out:  out,
		cols: newColumnEncoder(),
		list: make([]Request, 0, lineRequests),
		wake: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	if compress {
		w.zstd = newEncoder()
	}
	go w.flusher()
	return w
}

func newEncoder() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil { // only wrong options fail
		panic(err)
	}
	return enc
}

// Write appends events: Manifest (first), Subject, Cell, CellEnd, Sample, Measure, Operator, ModelFile,
// Note, Requests. What the logs of a cell hold goes before its CellEnd, which also closes them: its
// workers must have stopped. The error is the first that the file ever gave.
func (w *Writer) Write(events ...Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("record: the writer is closed")
	}
	for _, e := range events {
		if err := w.add(e); err != nil {
			return err
		}
	}
	if len(w.lines) >= flushBytes {
		w.flush()
	}
	return w.err
}

func (w *Writer) add(e Event) (err error) {
	switch e := e.(type) {
	case Manifest:
		w.began = e.Started
	case CellEnd:
		w.endLogs(e.Cell)
	}
	w.lines, err = appendEvent(w.lines, e)
	return err
}

// Requests makes a log for one worker of a cell.
func (w *Writer) Requests(cell int) *RequestLog {
	b := w.blocks.get()
	l := &RequestLog{w: w, cell: cell, first: b, last: b}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, l)
	return l
}

// Flush writes out all that was recorded so far.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// Close writes what is left and the line that says that the record is whole. A second call only repeats
// the error.
func (w *Writer) Close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	w.closed = true
	w.drain()
	if err := w.add(End{At: w.since()}); err != nil {
		w.err = errors.Join(w.err, err)
	}
	w.flush()
	if w.closer != nil {
		w.err = errors.Join(w.err, w.closer.Close())
	}
	return w.err
}

func (w *Writer) since() int64 {
	if w.began.IsZero() {
		return 0
	}
	return time.Since(w.began).Nanoseconds()
}

// flusher is the one goroutine that takes requests from workers.
func (w *Writer) flusher() {
	defer close(w.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.wake:
		case <-w.stop:
			return
		}
		w.mu.Lock()
		w.flush()
		w.mu.Unlock()
	}
}

// full is told by a worker that filled a block.
func (w *Writer) full() {
	if w.fulls.Add(1) >= wakeAfter {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *Writer) endLogs(cell int) {
	for _, l := range w.logs {
		if l.cell == cell {
			l.Close()
		}
	}
	w.drain()
}

// drain moves what logs hold to lines, cells kept apart, and forgets the logs that are closed.
func (w *Writer) drain() {
	w.fulls.Store(0)
	kept := w.logs[:0]
	for _, l := range w.logs {
		closed := l.closed.Load()
		w.drainLog(l)
		if closed {
			w.blocks.put(l.first)
		} else {
			kept = append(kept, l)
		}
	}
	clear(w.logs[len(kept):])
	w.logs = kept
	w.line()
}

func (w *Writer) drainLog(l *RequestLog) {
	if len(w.list) > 0 && w.listCell != l.cell {
		w.line()
	}
	w.listCell = l.cell
	for more := true; more; {
		w.list, more = l.take(w.list)
		if len(w.list) == cap(w.list) {
			w.line()
		}
	}
}

// line encodes the gathered requests.
func (w *Writer) line() {
	if len(w.list) == 0 {
		return
	}
	w.lines = w.cols.append(w.lines, w.listCell, w.list)
	w.list = w.list[:0]
	if len(w.lines) >= flushBytes {
		w.push()
	}
}

func (w *Writer) flush() {
	w.drain()
	w.push()
}

// push writes lines out, as one frame. After an error nothing more is written: a second frame behind half
// a one could not be read.
func (w *Writer) push() {
	if len(w.lines) == 0 {
		return
	}
	chunk := w.lines
	if w.zstd != nil {
		w.frame = w.zstd.EncodeAll(w.lines, w.frame[:0])
		chunk = w.frame
	}
	w.lines = w.lines[:0]
	if w.err != nil {
		return
	}
	if _, err := w.out.Write(chunk); err != nil {
		w.err = fmt.Errorf("record: %w", err)
	}
}
