// Package telemetry derives everything that Vitrine tells of itself (metrics, access log,
// Server-Timing) from one Timeline a request.
package telemetry

import "time"

// Stamp is a moment in the life of a request's part.
type Stamp uint8

const (
	Received    Stamp = iota // the front began to read the request
	Decoded                  // the item is in its row: decoded and preprocessed
	Queued                   // the row is in the batcher's queue
	Batched                  // a batch took it
	InputReady               // the engine has gathered its input
	Computed                 // the forward pass is done
	OutputReady              // the embedding is in the caller's memory
	Sent                     // the answer's last byte was handed to the network
	stamps
)

// Timeline holds the eight stamps of a part; a zero time is a moment that was never reached.
type Timeline struct {
	At [stamps]time.Time
	// Decode and Preprocess split Received..Decoded: entropy decoding to pixels, and resize, crop and
	// conversion. What remains is reading and waiting for a decode slot.
	Decode, Preprocess time.Duration
	// BatchSize is the size of the execution that computed the part, 0 if none did.
	BatchSize int
}

// Mark sets a stamp to now.
func (t *Timeline) Mark(s Stamp) { t.At[s] = time.Now() }

// Between is the time from one stamp to a later one, 0 if either was never reached.
func (t *Timeline) Between(from, to Stamp) time.Duration {
	if t.At[from].IsZero() || t.At[to].IsZero() {
		return 0
	}
	return t.At[to].Sub(t.At[from])
}
