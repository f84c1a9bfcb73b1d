//go:build race

package wire

// raced tells that the race detector runs, under which sync.Pool drops objects at random.
const raced = true
