package service

import (
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
)

func TestBudget(t *testing.T) {
	b := NewBudget(100)
	old, err := b.Reserve("m", 60)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Reserve("m", 60) // one that is to take its place
	if want := "model 'm' needs 60 bytes of memory; 40 are free of a budget of 100"; err == nil || err.Error() != want || fault.KindOf(err) != fault.Exhausted {
		t.Errorf("%v, want %s", err, want)
	}
	exact, err := b.Reserve("n", 40)
	if err != nil {
		t.Fatal(err)
	}
	old()
	old() // in vain
	if _, err := b.Reserve("m", 61); err == nil {
		t.Error("what was given back in vain counts twice")
	}
	if _, err := b.Reserve("m", 60); err != nil {
		t.Error(err)
	}
	exact()
	if _, err := NewBudget(0).Reserve("m", 1<<60); err != nil {
		t.Errorf("no budget: %v", err)
	}
}
