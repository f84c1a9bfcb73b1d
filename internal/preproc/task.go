package preproc

import (
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Task is what Into does to a plain JPEG file, for a decoder elsewhere: decode it to RGB, take the pixels in
// the upright image's order, and resize. Finish does the rest.
type Task struct {
	Data          []byte
	Width, Height int // of the decoded image
	// Start is the decoded pixel that is the upright image's first; Right and Down are the steps, in
	// pixels, to the next one of its row and to its next row.
	Start, Right, Down  int
	Steps               resize.Steps
	OutWidth, OutHeight int // of what the steps leave

	geometry geometry
}

// Task describes the work on an image file. It is not ok for files that are not JPEG, are not plain
// (jpeg.Plain) or that Into would refuse by their headers: those are left to Into.
func (p *Pipeline) Task(data []byte) (t Task, ok bool) {
	h, err := p.inspect(data)
	if err != nil || h.format != JPEG || !jpeg.Plain(data) {
		return t, false
	}
	t = Task{Data: data, Width: h.width, Height: h.height, geometry: h.geometry}
	t.Start, t.Right, t.Down = walk(h.width, h.height, h.orientation)
	w, ht := h.width, h.height
	if turned(h.orientation) {
		w, ht = ht, w
	}
	g := h.geometry
	t.Steps = resize.StepsFor(w, ht, g.width, g.height, g.part, p.plan.Filter)
	t.OutWidth, t.OutHeight = g.part.W, g.part.H
	return t, true
}

// Finish writes a task's result, OutWidth x OutHeight RGB pixels, into row as Into would have. pix is only
// read, and not kept.
func (p *Pipeline) Finish(t *Task, pix []byte, row tensor.Row) error {
	if err := p.checkRow(row); err != nil {
		return err
	}
	if want := 3 * t.OutWidth * t.OutHeight; len(pix) != want {
		return fault.New(fault.Internal, "%d bytes for %dx%d RGB pixels", len(pix), t.OutWidth, t.OutHeight)
	}
	s := p.scratch.Get().(*scratch)
	defer p.release(s)
	small := raster.Image{Mode: raster.RGB, Width: t.OutWidth, Height: t.OutHeight, Pix: pix, Transparent: -1}
	p.finish(&small, t.geometry, row, s)
	return nil
}
