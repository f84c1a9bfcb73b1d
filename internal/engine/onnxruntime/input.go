package onnxruntime

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// gather writes rows into the input tensor, one after the other. Rows are shared among as many goroutines
// as there are processors: a device computes a batch of 32 in the time that one core normalises it.
func (e *Engine) gather(input []byte, rows []tensor.Row) {
	size := len(input) / len(rows)
	workers := min(len(rows), runtime.GOMAXPROCS(0))
	if workers == 1 {
		for i, r := range rows {
			e.write(input[i*size:][:size], r)
		}
		return
	}
	var next atomic.Int64
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(rows); i = int(next.Add(1)) - 1 {
				e.write(input[i*size:][:size], rows[i])
			}
		})
	}
	done.Wait()
}

// write writes one image in the graph's layout and type.
func (e *Engine) write(input []byte, r tensor.Row) {
	switch {
	case r.Format() == tensor.FormatFloat32CHW && !e.source.channelsLast && !e.source.half[0]:
		copy(input, r.Bytes())
	case e.source.half[0]:
		e.each(r, func(at int, v float32) { binary.NativeEndian.PutUint16(input[2*at:], tensor.Float32ToFP16(v)) })
	case r.Format() == tensor.FormatUint8HWC && !e.source.channelsLast:
		e.planes(tensor.Float32s(input), r.Bytes())
	default:
		to := tensor.Float32s(input)
		e.each(r, func(at int, v float32) { to[at] = v })
	}
}

// planes normalises interleaved bytes into planes.
func (e *Engine) planes(to []float32, pixels []byte) {
	area := e.source.side * e.source.side
	red, green, blue := to[:area], to[area:][:area], to[2*area:][:area]
	table := &e.pixels
	for i := range red {
		p := pixels[3*i:][:3]
		red[i], green[i], blue[i] = table[0][p[0]], table[1][p[1]], table[2][p[2]]
	}
}

// each calls f for each normalised value of a row with its place in the input.
func (e *Engine) each(r tensor.Row, f func(at int, v float32)) {
	area := e.source.side * e.source.side
	value := func(c, i int) float32 { return e.pixels[c][r.Bytes()[3*i+c]] }
	if r.Format() == tensor.FormatFloat32CHW {
		planes := tensor.Float32s(r.Bytes())
		value = func(c, i int) float32 { return planes[c*area+i] }
	}
	for c := range 3 {
		for i := range area {
			at := c*area + i
			if e.source.channelsLast {
				at = 3*i + c
			}
			f(at, value(c, i))
		}
	}
}

// scatter copies embeddings to where the caller wants them.
func (e *Engine) scatter(out [][]float32, output []byte) {
	dim := e.source.dim
	for i := range out {
		if !e.source.half[1] {
			copy(out[i], tensor.Float32s(output[4*dim*i:][:4*dim]))
			continue
		}
		for j := range out[i] {
			out[i][j] = tensor.FP16ToFloat32(binary.NativeEndian.Uint16(output[2*(dim*i+j):]))
		}
	}
}
