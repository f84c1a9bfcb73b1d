package oip

import (
	"bytes"
	"testing"
)

func TestPrefixed(t *testing.T) {
	for _, room := range []int{0, 3, 4, 100} {
		body := append(make([]byte, 0, 300+room), bytes.Repeat([]byte("abc"), 100)...)
		got := prefixed(body)
		if want := append([]byte{44, 1, 0, 0}, bytes.Repeat([]byte("abc"), 100)...); !bytes.Equal(got, want) {
			t.Errorf("room for %d: %q", room, got)
		}
		if inPlace := &got[0] == &body[0]; inPlace != (room >= 4) {
			t.Errorf("room for %d: in place %v", room, inPlace)
		}
	}
}
