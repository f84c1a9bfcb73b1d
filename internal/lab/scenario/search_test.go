package scenario

import (
	"errors"
	"testing"
	"time"
)

func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name                      string
		capacity, lowest, highest float64
	}{
		{"far above", 3700, 8, 1e5}, {"below the first try", 0.9, 8, 1e5}, {"at the first try", 8, 8, 1e5},
		{"just above it", 8.1, 8, 1e5}, {"just below it", 7.9, 8, 1e5},
	} {
		t.Run(c.name, func(t *testing.T) {
			tries := 0
			got, err := search(c.lowest, c.highest, func(rate float64) (bool, error) { tries++; return rate <= c.capacity, nil })
			if err != nil || got > c.capacity || got < c.capacity/searchPrecision || tries > searchTries {
				t.Errorf("found %v after %d tries, %v; want %v", got, tries, err, c.capacity)
			}
		})
	}
}

func TestSearchEnds(t *testing.T) {
	if got, err := search(8, 100, func(float64) (bool, error) { return true, nil }); got != 100 || err != nil {
		t.Errorf("no rate fails: %v, %v; want the highest", got, err)
	}
	if got, err := search(8, 100, func(float64) (bool, error) { return false, nil }); got != 0 || err != nil {
		t.Errorf("no rate passes: %v, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := search(8, 100, func(float64) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestMeets(t *testing.T) {
	ms := func(v ...int) (d []time.Duration) {
		for _, x := range v {
			d = append(d, time.Duration(x)*time.Millisecond)
		}
		return d
	}
	for _, c := range []struct {
		sorted []time.Duration
		share  float64
		want   bool
	}{
		{nil, 0.5, false}, {ms(50), 0.99, true}, {ms(51), 0.99, false}, {ms(1, 2, 3, 51), 0.75, true}, {ms(1, 2, 3, 51), 0.76, false},
	} {
		if got := meets(c.sorted, c.share, 50*time.Millisecond); got != c.want {
			t.Errorf("%v with %v within 50ms: %v", c.sorted, c.share, got)
		}
	}
}
