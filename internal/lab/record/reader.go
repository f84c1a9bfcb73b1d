package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxLine bounds one line: a block of the most requests is well below.
	maxLine = 32 << 20
	// maxWindow bounds what one zstd frame may ask for; the writer's frames hold about a megabyte.
	maxWindow = 64 << 20
)

// Ending says how a record stopped.
type Ending struct {
	// Clean: the last line says that the record was closed.
	Clean bool
	// Torn: the file stops within a frame or a line, as after a kill or on a full disk.
	Torn bool
	// Lines that were read.
	Lines int
}

// String is a sentence for the reader of a report.
func (e Ending) String() string {
	switch {
	case e.Clean:
		return "closed properly"
	case e.Torn:
		return fmt.Sprintf("cut off within line %d; what came before was read", e.Lines+1)
	default:
		return "not closed: the run was killed; all lines are whole"
	}
}

// Reader reads one record as a stream.
type Reader struct {
	name   string
	src    *bufio.Reader
	zstd   *zstd.Decoder
	closer io.Closer
	buf    []byte
	begun  bool
	ending Ending
}

// Open reads the file at path, "-" is standard input.
func Open(path string) (*Reader, error) {
	if path == "-" {
		return NewReader(os.Stdin, "standard input")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r, err := NewReader(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer = f
	return r, nil
}

// zstdMagic begins a zstd frame.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// NewReader reads from src, compressed or plain; name is for messages.
func NewReader(src io.Reader, name string) (*Reader, error) {
	r := &Reader{name: name, src: bufio.NewReaderSize(src, 1<<16)}
	head, err := r.src.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("record: %s: %w", name, err)
	}
	if !bytes.Equal(head, zstdMagic) {
		return r, nil
	}
	r.zstd, err = zstd.NewReader(r.src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<40))
	if err != nil {
		return nil, fmt.Errorf("record: %s: %w", name, err)
	}
	r.src = bufio.NewReaderSize(r.zstd, 1<<16)
	return r, nil
}

// Close releases what Open opened.
func (r *Reader) Close() error {
	if r.zstd != nil {
		r.zstd.Close()
	}
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Ending is known when Events came to its end.
func (r *Reader) Ending() Ending { return r.ending }

// Events yields each line's content in order, a Manifest first. Lines of unknown kinds are passed over.
// An error, which names the line, is the last that is yielded; a torn end is none.
func (r *Reader) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			line, err := r.readLine()
			if err != nil {
				yield(nil, err)
				return
			}
			if line == nil {
				return
			}
			e, err := r.parse(line)
			if errors.Is(err, errUnknownKind) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (r *Reader) parse(line []byte) (Event, error) {
	e, err := parseEvent(line)
	if err == nil || errors.Is(err, errUnknownKind) {
		_, isManifest := e.(Manifest)
		if !r.begun && !isManifest {
			return nil, r.errorf("a record begins with a manifest")
		}
		r.begun = true
		_, r.ending.Clean = e.(End)
		return e, err
	}
	return nil, r.errorf("%w", err)
}

func (r *Reader) errorf(format string, args ...any) error {
	return fmt.Errorf("record: %s: line %d: %w", r.name, r.ending.Lines, fmt.Errorf(format, args...))
}

// readLine is the next line that is not blank, nil at the end. A last line without its newline is torn and is not
// delivered, unless it is whole JSON.
func (r *Reader) readLine() ([]byte, error) {
	for {
		line, err := r.rawLine()
		if err != nil && !(errors.Is(err, io.EOF) && json.Valid(line)) {
			return nil, r.endOf(err)
		}
		r.ending.Lines++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// rawLine is a line without limit on the buffer of bufio, but with one on its length.
func (r *Reader) rawLine() ([]byte, error) {
	r.buf = r.buf[:0]
	for {
		part, err := r.src.ReadSlice('\n')
		r.buf = append(r.buf, part...)
		if len(r.buf) > maxLine {
			return r.buf, fmt.Errorf("longer than %d MB", maxLine>>20)
		}
		if err == nil {
			return r.buf, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return r.buf, err
		}
	}
}

// endOf tells a torn end from an error; nil ends the stream.
func (r *Reader) endOf(err error) error {
	switch {
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(r.buf)) == 0:
		return r.checkBegun()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.ending.Torn, r.ending.Clean = true, false
		return r.checkBegun()
	default:
		r.ending.Lines++
		return r.errorf("%w", err)
	}
}

func (r *Reader) checkBegun() error {
	if r.begun {
		return nil
	}
	return fmt.Errorf("record: %s: empty: not even a manifest", r.name)
}
