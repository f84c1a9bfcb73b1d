package telemetry

import "time"

// Fold makes one timeline of a request's parts. Received is the earliest of the parts; every other
// stamp is the latest, for each of them ends a stage and the request as a whole has passed a moment
// when its last part has. Hence the stages of a folded timeline follow each other without a gap and
// add up to the time from Received to Sent, as a single part's do.
//
// Decode and Preprocess are work, not spans: they are summed, and where parts were decoded side by
// side the sum is larger than the time that passed. BatchSize is the largest execution's.
//
// Parts that were answered decide the stamps; parts that failed count only if none was answered, so
// that a part which waited long and never ran does not stretch a stage that others passed.
func Fold(parts []Timeline) Timeline {
	var out Timeline
	answered := anyAnswered(parts)
	for i := range parts {
		p := &parts[i]
		out.Decode += p.Decode
		out.Preprocess += p.Preprocess
		out.BatchSize = max(out.BatchSize, p.BatchSize)
		if answered == p.answered() {
			out.widen(p)
		}
	}
	return out
}

func anyAnswered(parts []Timeline) bool {
	for i := range parts {
		if parts[i].answered() {
			return true
		}
	}
	return false
}

func (t *Timeline) answered() bool { return !t.At[OutputReady].IsZero() }

// widen moves t's stamps to cover p.
func (t *Timeline) widen(p *Timeline) {
	if r := p.At[Received]; !r.IsZero() && (t.At[Received].IsZero() || r.Before(t.At[Received])) {
		t.At[Received] = r
	}
	for s := Received + 1; s < stamps; s++ {
		if p.At[s].After(t.At[s]) {
			t.At[s] = p.At[s]
		}
	}
}

// Stages are the durations between a timeline's stamps. Receive, Queue, Input, Compute, Output and
// Encode follow each other; together they are the time from Received to Sent.
type Stages struct {
	Receive time.Duration // reading, waiting for a decode slot, decoding, preprocessing
	Queue   time.Duration // waiting for a batch
	Input   time.Duration // gathering the batch's input
	Compute time.Duration // the forward pass
	Output  time.Duration // copying embeddings back
	Encode  time.Duration // writing the answer
}

// Stages returns the durations; a stage that was not reached is 0.
func (t *Timeline) Stages() Stages {
	return Stages{
		Receive: t.Between(Received, Queued),
		Queue:   t.Between(Queued, Batched),
		Input:   t.Between(Batched, InputReady),
		Compute: t.Between(InputReady, Computed),
		Output:  t.Between(Computed, OutputReady),
		Encode:  t.Between(OutputReady, Sent),
	}
}

// End is the last stamp that was reached, zero if none was.
func (t *Timeline) End() time.Time {
	var end time.Time
	for _, at := range t.At {
		if at.After(end) {
			end = at
		}
	}
	return end
}

// Total is the time from Received to the last stamp reached.
func (t *Timeline) Total() time.Duration {
	if t.At[Received].IsZero() {
		return 0
	}
	return t.End().Sub(t.At[Received])
}
