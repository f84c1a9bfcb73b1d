package kernel

import "math"

// softmaxRows replaces the first n values of each row of x by exp(scale x) over their sum, stably: the
// row's largest value is subtracted first. Rows are columns long, a multiple of vectorStep; what is
// behind the first n values becomes 0 or close to it. scale is positive.
func (o *vectorOps) softmaxRows(x []float32, rows, columns, n int, scale float32) {
	for i := range rows {
		row := x[i*columns:][:columns]
		for j := n; j < columns; j++ {
			row[j] = float32(math.Inf(-1))
		}
		o.softmax(row, scale*math.Log2E)
	}
}

func softmaxPortable(x []float32, scale float32) {
	top := float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for i, v := range x {
		e := math.Exp2(float64(v-top) * float64(scale))
		x[i] = float32(e)
		sum += e
	}
	inverse := float32(1 / sum)
	for i := range x {
		x[i] *= inverse
	}
}
