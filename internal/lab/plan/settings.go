package plan

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// merge takes each setting from the first that has it.
func merge(all ...Settings) Settings {
	var m Settings
	for _, s := range all {
		first(&m.Rounds, s.Rounds)
		first(&m.Requests, s.Requests)
		first(&m.Duration, s.Duration)
		first(&m.Timeout, s.Timeout)
		first(&m.Bound, s.Bound)
		first(&m.Quantile, s.Quantile)
		if m.Warmup == nil {
			m.Warmup = s.Warmup
		}
		firstList(&m.Batch, s.Batch)
		firstList(&m.Concurrency, s.Concurrency)
		firstList(&m.Instances, s.Instances)
		firstList(&m.Rate, s.Rate)
		firstList(&m.Arrival, s.Arrival)
		firstList(&m.Input, s.Input)
		firstList(&m.Link, s.Link)
		firstList(&m.NewConnection, s.NewConnection)
		firstList(&m.Formats, s.Formats)
		firstList(&m.Encoders, s.Encoders)
	}
	return m
}

func first[T comparable](to *T, v T) {
	var zero T
	if *to == zero {
		*to = v
	}
}

func firstList[T any](to *[]T, v []T) {
	if len(*to) == 0 {
		*to = v
	}
}

// lists says which lists of settings a scenario uses; the others do not multiply its cells.
type lists struct{ batch, concurrency, rate, wire, encoding, input bool }

var uses = map[string]lists{
	record.ColdStart:     {input: true},
	record.Session:       {},
	record.Idle:          {},
	record.Serialization: {batch: true, encoding: true, input: true},
	record.Single:        {wire: true, input: true},
	record.Batch:         {wire: true, input: true, batch: true},
	record.Concurrency:   {wire: true, input: true, batch: true, concurrency: true},
	record.OpenLoop:      {wire: true, input: true, batch: true, rate: true},
	record.RateSearch:    {wire: true, input: true, batch: true},
	record.Compute:       {batch: true},
	record.Profile:       {batch: true},
	record.Soak:          {wire: true, input: true, batch: true, concurrency: true},
}

// usedBy takes away the lists that the scenario does not use, and gives one image and one client to
// those that measure them.
func (s Settings) usedBy(scenario string) Settings {
	u := uses[scenario]
	clearUnless(u.batch, &s.Batch)
	clearUnless(u.concurrency, &s.Concurrency)
	clearUnless(u.rate, &s.Rate)
	clearUnless(u.rate || scenario == record.RateSearch, &s.Arrival)
	clearUnless(u.wire, &s.Link)
	clearUnless(u.wire, &s.NewConnection)
	clearUnless(u.wire, &s.Instances)
	clearUnless(u.encoding, &s.Formats)
	clearUnless(u.encoding, &s.Encoders)
	clearUnless(u.input, &s.Input)
	if u.wire {
		firstList(&s.Batch, []int{1})
	}
	if scenario == record.Single || scenario == record.Batch {
		s.Concurrency = []int{1}
	}
	return s
}

func clearUnless[T any](used bool, list *[]T) {
	if !used {
		*list = nil
	}
}

// withBuiltin fills in the scenario's own settings. Where load is bounded by a time or a number already,
// the scenario's other bound is not added.
func withBuiltin(s Settings, scenario string) Settings {
	own := builtin(scenario)
	if uses[scenario].wire && (s.Requests > 0 || s.Duration > 0) {
		own.Requests, own.Duration = 0, 0
	}
	return merge(s, own)
}

// DefaultInput is the inputs' specification where none is given: the size of what CLIP looks at.
const DefaultInput = "photo:224x224:q85"

// builtin are a scenario's settings where neither the cell nor the study has them.
func builtin(scenario string) Settings {
	warm := 10
	s := Settings{Rounds: 1, Warmup: &warm, Timeout: 30 * time.Second, Input: []string{DefaultInput}}
	switch scenario {
	case record.ColdStart, record.Session:
		s.Requests = 5
	case record.Single:
		s.Requests = 100
	case record.Batch:
		s.Batch, s.Requests = []int{1, 4, 8, 16, 32}, 30
	case record.Concurrency:
		s.Concurrency, s.Duration = []int{1, 4, 8, 16, 32, 64, 128}, 10*time.Second
	case record.OpenLoop, record.RateSearch:
		s.Arrival, s.Duration, s.Quantile = []string{"poisson"}, 10*time.Second, 0.99
	case record.Soak:
		s.Concurrency, s.Duration = []int{8}, time.Hour
	case record.Idle:
		s.Duration = 10 * time.Second
	case record.Serialization:
		s.Formats, s.Encoders, s.Batch, s.Requests = Encodings, Encoders, []int{1, 4, 8, 16, 32}, 20
	case record.Compute:
		s.Batch, s.Requests = []int{1, 4, 8, 16, 32}, 20
	case record.Profile:
		s.Batch, s.Requests = []int{1}, 20
	}
	return s
}
