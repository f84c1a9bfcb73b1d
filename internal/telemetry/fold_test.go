package telemetry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// line makes a timeline from milliseconds since epoch; -1 is a moment never reached.
func line(ms ...int) Timeline {
	var t Timeline
	for s, at := range ms {
		if at >= 0 {
			t.At[s] = epoch.Add(time.Duration(at) * time.Millisecond)
		}
	}
	return t
}

func with(t Timeline, decode, preprocess time.Duration, batch int) Timeline {
	t.Decode, t.Preprocess, t.BatchSize = decode, preprocess, batch
	return t
}

func TestFold(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		parts []Timeline
		want  Timeline
	}{
		{"nothing", nil, Timeline{}},
		{"one part is itself", []Timeline{with(line(0, 1, 2, 3, 4, 5, 6), ms, 2*ms, 7)},
			with(line(0, 1, 2, 3, 4, 5, 6), ms, 2*ms, 7)},
		{"earliest start, latest ends, work summed",
			[]Timeline{with(line(1, 2, 3, 4, 5, 9, 10), ms, ms, 2), with(line(0, 3, 4, 8, 9, 9, 11), 2*ms, ms, 4)},
			with(line(0, 3, 4, 8, 9, 9, 11), 3*ms, 2*ms, 4)},
		{"a failed part does not stretch the answered ones",
			[]Timeline{with(line(0, 1, 2, 3, 4, 5, 6), ms, 0, 1), with(line(0, 50, 51), ms, 0, 0)},
			with(line(0, 1, 2, 3, 4, 5, 6), 2*ms, 0, 1)},
		{"all failed", []Timeline{line(0, 1, 2), line(0, 3, -1)}, line(0, 3, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Fold(c.parts)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStagesOfAFoldAddUp(t *testing.T) {
	folded := Fold([]Timeline{line(1, 2, 3, 4, 5, 9, 10, 12), line(0, 3, 4, 8, 9, 9, 11, 12), line(0, 9, 9, 9, 9, 9, 9, 12)})
	s := folded.Stages()
	sum := s.Receive + s.Queue + s.Input + s.Compute + s.Output + s.Encode
	if sum != folded.Total() || sum != folded.Between(Received, Sent) {
		t.Errorf("%+v add up to %v of %v", s, sum, folded.Total())
	}
}

func TestServerTiming(t *testing.T) {
	l := with(line(0, 5, 6, 8, 9, 19, 20), 3*time.Millisecond, 1500*time.Microsecond, 4)
	want := "receive;dur=6.000, decode;dur=3.000, preprocess;dur=1.500, queue;dur=2.000, " +
		"input;dur=1.000, compute;dur=10.000, output;dur=1.000, total;dur=20.000"
	if got := l.ServerTiming(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTotalOfNothingIsNothing(t *testing.T) {
	var none Timeline
	if none.Total() != 0 || !none.End().IsZero() || none.Stages() != (Stages{}) {
		t.Errorf("%v %v %+v", none.Total(), none.End(), none.Stages())
	}
}
