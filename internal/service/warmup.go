package service

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
)

// WarmUp runs real images through the whole path, a PNG and a JPEG made in memory, and then one batch
// of every planned size; if all succeed the model is ready. Warming up is in no metric.
func (m *Images) WarmUp(ctx context.Context) error {
	pngFile, jpegFile, err := samples()
	if err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		data []byte
	}{{"PNG", pngFile}, {"JPEG", jpegFile}} {
		if err := m.try(ctx, s.data, 1); err != nil {
			return fmt.Errorf("warm-up with a %s image: %w", s.name, err)
		}
	}
	for _, n := range m.spec.Batches {
		if n > m.meta.MaxBatch {
			break
		}
		if err := m.try(ctx, pngFile, n); err != nil {
			return fmt.Errorf("warm-up with a batch of %d: %w", n, err)
		}
	}
	m.proven.Store(true)
	return nil
}

// try embeds an image n times, in one execution.
func (m *Images) try(ctx context.Context, data []byte, n int) error {
	r := &Request{ID: "warm-up", Items: make([]Item, n), Normalize: true, Whole: true}
	for i := range r.Items {
		r.Items[i] = Item{Kind: Encoded, Data: data}
	}
	m.pending.Add(1)
	c := newCall(m, r)
	defer c.Begin()
	return m.infer(ctx, c)
}

// samples encodes one small colourful picture twice.
func samples() (pngFile, jpegFile []byte, err error) {
	const w, h = 64, 48
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			im.SetRGBA(x, y, color.RGBA{R: uint8(4 * x), G: uint8(5 * y), B: uint8(x ^ y), A: 255})
		}
	}
	var p, j bytes.Buffer
	if err := png.Encode(&p, im); err != nil {
		return nil, nil, err
	}
	if err := jpeg.Encode(&j, im, nil); err != nil {
		return nil, nil, err
	}
	return p.Bytes(), j.Bytes(), nil
}
