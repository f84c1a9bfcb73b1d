package cuda

import (
	_ "embed"
	"fmt"
	"math"
	"strings"
	"sync"
)

// tuned.txt is what TestCardTune found to be fastest on an H100: lines of epilogue, n, k, m, variant.
//
//go:embed tuned.txt
var tunedText string

// shape is a kind of product that was measured.
type shape struct {
	e    epilogue
	n, k int
}

type winner struct {
	m    int
	name string
}

var tuned = sync.OnceValue(func() map[shape][]winner {
	t, err := parseTuned(tunedText)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return t
})

func parseTuned(text string) (map[shape][]winner, error) {
	t := map[shape][]winner{}
	for line := range strings.Lines(text) {
		var s shape
		var w winner
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &s.e, &s.n, &s.k, &w.m, &w.name); err != nil {
			return nil, fmt.Errorf("tuned.txt: %q: %w", line, err)
		}
		t[s] = append(t[s], w)
	}
	return t, nil
}

// measuredAs is the epilogue that stands for this one in the table: the activations cost about the same.
func (e epilogue) measuredAs() epilogue {
	switch {
	case e.activates() && e.fp8():
		return fp8Normed
	case e.activates():
		return normed
	}
	return e
}

// measured is the winner of the nearest number of rows, if that product was measured and the variant is
// there.
func measured(from []variant, m, n, k int, e epilogue) (variant, bool) {
	s := shape{e.measuredAs(), n, k}
	if _, ok := tuned()[s]; !ok && e == residualCopy {
		s.e = residual
	}
	best, name := math.Inf(1), ""
	for _, w := range tuned()[s] {
		if d := math.Abs(math.Log(float64(m) / float64(w.m))); d < best {
			best, name = d, w.name
		}
	}
	for _, v := range from {
		if v.name == name && v.fits(n, k, e) {
			return v, true
		}
	}
	return variant{}, false
}
