package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// Append opens a record to go on with it, after a kill too: half a frame or line at its end is cut away.
// before is what the file holds, without requests. The writer's caller keeps the clock (times count from
// the first Manifest.Started) and gives cells numbers above before.LastCell.
func Append(path string) (w *Writer, before *Data, err error) {
	compress, err := compressed(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := cutTorn(f, compress); err != nil {
		return nil, nil, fmt.Errorf("record: %s: %w", path, err)
	}
	if before, err = LoadWithin(Limits{Requests: -1}, path); err != nil {
		return nil, nil, err
	}
	w = NewWriter(f, compress)
	w.closer = f
	w.began = before.Runs[len(before.Runs)-1].Manifest.Started
	return w, before, nil
}

// LastCell is the highest number of a cell, -1 without any.
func (d *Data) LastCell() int {
	last := -1
	for _, r := range d.Runs {
		for _, c := range r.Cells {
			last = max(last, c.ID)
		}
	}
	return last
}

// cutTorn truncates f behind its last whole frame or line and leaves the position there.
func cutTorn(f *os.File, compress bool) error {
	whole := wholeLines
	if compress {
		whole = wholeFrames
	}
	end, err := whole(f)
	if err != nil {
		return err
	}
	if err := f.Truncate(end); err != nil {
		return err
	}
	_, err = f.Seek(end, io.SeekStart)
	return err
}

// wholeLines is the length of f up to its last newline.
func wholeLines(f io.Reader) (int64, error) {
	r := bufio.NewReaderSize(f, 1<<16)
	var read, end int64
	for {
		part, err := r.ReadSlice('\n')
		read += int64(len(part))
		switch {
		case err == nil:
			end = read
		case errors.Is(err, io.EOF):
			return end, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return 0, err
		}
	}
}

// wholeFrames is the length of f up to the end of its last whole zstd frame. It follows the frame and block
// headers (RFC 8878, 3.1.1) and decodes nothing.
func wholeFrames(f io.Reader) (int64, error) {
	r := &counter{r: bufio.NewReaderSize(f, 1<<16)}
	end := int64(0)
	for {
		err := skipFrame(r)
		switch {
		case err == nil:
			end = r.n
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return end, nil
		default:
			return 0, fmt.Errorf("at byte %d: %w", end, err)
		}
	}
}

// counter counts what was read.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) skip(n int) error {
	got, err := c.r.Discard(n)
	c.n += int64(got)
	return err
}

func skipFrame(r *counter) error {
	head, err := r.r.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		return err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return err
	}
	if err := r.skip(h.HeaderSize); err != nil {
		return err
	}
	if h.Skippable {
		return r.skip(int(h.SkippableSize))
	}
	for last := false; !last; {
		if last, err = skipBlock(r); err != nil {
			return err
		}
	}
	if h.HasCheckSum {
		return r.skip(4)
	}
	return nil
}

// skipBlock passes over one block: three bytes of header (last, two bits of type, 21 of size), then its
// content, which is one byte where a byte is repeated.
func skipBlock(r *counter) (last bool, err error) {
	head, err := r.r.Peek(3)
	if err != nil {
		return false, err
	}
	bits := binary.LittleEndian.Uint32([]byte{head[0], head[1], head[2], 0})
	const repeated = 1
	size := int(bits >> 3)
	if bits>>1&3 == repeated {
		size = 1
	}
	return bits&1 == 1, r.skip(3 + size)
}
