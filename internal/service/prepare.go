package service

import (
	"context"
	"encoding/binary"
	"math"
	"runtime/debug"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// prepare writes item i into a row of its own, c.rows[i], which stays nil if it fails. A decoder that
// panics fails its image alone.
func (m *Images) prepare(ctx context.Context, c *call, i int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("decoder panicked", "model", m.String(), "request", c.request.ID, "item", i,
				"panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "the image could not be decoded")
		}
	}()
	it, line := &c.request.Items[i], &c.lines[i]
	if err := m.validateItem(it); err != nil {
		return err
	}
	leave, err := m.admit(ctx, it)
	if err != nil {
		return err
	}
	defer leave()
	row, err := m.engine.NewRow(c.format)
	if err != nil {
		return err
	}
	if err = m.fill(it, row, line); err != nil {
		return err
	}
	line.Mark(telemetry.Decoded)
	c.rows[i] = row
	return nil
}

// fill writes an item into a row and releases the row unless that succeeded, after a panic too.
func (m *Images) fill(it *Item, row tensor.Row, line *telemetry.Timeline) error {
	done := false
	defer func() {
		if !done {
			row.Release()
		}
	}()
	start := time.Now()
	switch it.Kind {
	case Encoded:
		info, err := m.pipeline.Into(it.Data, row)
		line.Decode, line.Preprocess = info.Decode, info.Preprocess
		if err != nil {
			return err
		}
	case Pixels:
		if err := m.pipeline.PixelsInto(it.Data, it.Width, it.Height, row); err != nil {
			return err
		}
		line.Preprocess = time.Since(start)
	default:
		copyTensor(row.Bytes(), it.tensor())
	}
	done = true
	return nil
}

// littleEndian tells whether this machine keeps numbers as the protocols send them.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// copyTensor copies little-endian float32 values, from any alignment and any pieces, into a row, which has them in
// the machine's byte order. Where the orders agree it only moves memory.
func copyTensor(row []byte, src tensor.Pieces) {
	src.CopyTo(row)
	if !littleEndian {
		fromLittleEndian(row)
	}
}

// fromLittleEndian gives the float32 values of a row the machine's byte order, by value.
func fromLittleEndian(row []byte) {
	values := tensor.Float32s(row)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
	}
}

// admit waits until an item may be decoded. A tensor only needs copying.
func (m *Images) admit(ctx context.Context, it *Item) (leave func(), err error) {
	if it.Kind == Tensor {
		return func() {}, nil
	}
	return m.decoding.enter(ctx, func() (int64, error) {
		if it.Kind == Encoded {
			return m.pipeline.Footprint(it.Data)
		}
		return int64(len(it.Data)), nil
	})
}
