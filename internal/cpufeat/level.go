// Package cpufeat tells what the processor and the operating system offer, and keeps the registry of
// kernel variants from which each operator takes the best one.
package cpufeat

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/cpu"
)

// Env is the environment variable that forces a level, for tests and for comparing variants.
const Env = "VITRINE_CPU"

// Level is a set of instructions. Each level on x86 includes the ones before it.
type Level uint8

const (
	Generic    Level = iota // portable Go
	AVX2                    // AVX2 and FMA
	AVX512                  // AVX-512 F, BW, CD, DQ and VL
	AVX512BF16              // AVX512 and the bfloat16 dot product
	levels
)

var levelNames = [levels]string{"generic", "avx2", "avx512", "avx512_bf16"}

// String is the level's name, as Env spells it.
func (l Level) String() string {
	if l < levels {
		return levelNames[l]
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}

// ParseLevel is the inverse of String.
func ParseLevel(name string) (Level, error) {
	for l, n := range levelNames {
		if n == name {
			return Level(l), nil
		}
	}
	return Generic, fmt.Errorf("unknown CPU level %q: want one of %s", name, strings.Join(levelNames[:], ", "))
}

// Machine is the highest level that the processor offers and whose registers the operating system
// saves (x/sys/cpu looks at XCR0).
func Machine() Level {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return Generic
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512CD || !x.HasAVX512DQ || !x.HasAVX512VL:
		return AVX2
	case !x.HasAVX512BF16:
		return AVX512
	}
	return AVX512BF16
}

// Selected is the level that operators may use: Machine's, or the one that Env forces. A forced level
// that is unknown or that the machine lacks is an error, and the level is then Machine's. Whoever
// builds an engine reports the error; operators only use the level.
func Selected() (Level, error) {
	return selectLevel(os.Getenv(Env), Machine())
}

func selectLevel(forced string, machine Level) (Level, error) {
	if forced == "" {
		return machine, nil
	}
	l, err := ParseLevel(forced)
	if err != nil {
		return machine, fmt.Errorf("%s: %w", Env, err)
	}
	if l > machine {
		return machine, fmt.Errorf("%s=%s: this machine offers no more than %s", Env, forced, machine)
	}
	return l, nil
}
