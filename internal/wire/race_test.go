//go:build race

package wire

// raced tells that the race detector is built in: its code allocates where the ordinary code does not.
const raced = true
