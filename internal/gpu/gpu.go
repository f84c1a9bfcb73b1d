// Package gpu reads what NVIDIA's driver tells of its cards: memory, use, power, energy, temperature,
// clocks. It computes nothing on them.
package gpu

import (
	"sync"
	"time"
)

// Card is what does not change of a card.
type Card struct {
	Index  int
	Name   string
	UUID   string
	Driver string
}

// Reading is a card at one instant. A value that the card does not have is -1; memory is always there.
type Reading struct {
	MemoryTotal, MemoryUsed int64   // bytes
	Utilization             float64 // share of the last sampling period in which a kernel ran, 0 to 1
	Power, PowerLimit       float64 // watts
	Energy                  float64 // joules since the driver was loaded
	Temperature             float64 // degrees Celsius
	ClockSM, ClockMemory    float64 // hertz
}

// Source is a machine's cards.
type Source interface {
	// Cards are the cards, by index.
	Cards() []Card
	// Read reads the card at an index of Cards.
	Read(index int) (Reading, error)
}

// Sample is a card with what was read of it.
type Sample struct {
	Card
	Reading
	// Spent is the energy in joules since the sampler was made, -1 where the card does not count it.
	Spent float64
}

// Sampler reads cards when it is asked, but not more often than once in an interval: whoever scrapes
// faster gets the same reading again. Nothing is read while nobody asks.
type Sampler struct {
	source   Source
	interval time.Duration
	began    []float64 // each card's energy at the beginning

	mu   sync.Mutex
	last time.Time
	kept []Sample
}

// NewSampler reads each card once, to count energy from there.
func NewSampler(s Source, interval time.Duration) *Sampler {
	p := &Sampler{source: s, interval: interval}
	for i := range s.Cards() {
		energy := -1.0
		if r, err := s.Read(i); err == nil {
			energy = r.Energy
		}
		p.began = append(p.began, energy)
	}
	return p
}

// Sample is every card that can be read.
func (p *Sampler) Sample() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && time.Since(p.last) < p.interval {
		return p.kept
	}
	p.last, p.kept = time.Now(), nil
	for i, c := range p.source.Cards() {
		r, err := p.source.Read(i)
		if err != nil {
			continue // the card fell off the bus, or is being reset
		}
		s := Sample{Card: c, Reading: r, Spent: -1}
		if r.Energy >= 0 && p.began[i] >= 0 {
			s.Spent = r.Energy - p.began[i]
		}
		p.kept = append(p.kept, s)
	}
	return p.kept
}
