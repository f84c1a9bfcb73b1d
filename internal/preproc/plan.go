// Package preproc turns the bytes of an image file into a model's input, by the rules that the model
// was trained with: decode, resize, crop, convert to RGB, normalise. Every pixel is the one that
// open_clip gets from Pillow (13.0.0), and it is written once, in place, into the engine's row.
package preproc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
)

// Resize says how an image is brought to the model's size.
type Resize string

const (
	// Shortest scales the short side to the model's size and crops the centre.
	Shortest Resize = "shortest"
	// Squash scales both sides to the model's size, whatever the proportions.
	Squash Resize = "squash"
	// Longest scales the long side to the model's size and pads the centre with zeros.
	Longest Resize = "longest"
)

// planVersion changes when the same plan would give other pixels than before.
const planVersion = 1

// Plan is preprocessing as a value. Two plans are equal if and only if they give the same pixels for
// every image; its hash is part of the identity of a vector space.
type Plan struct {
	Size      int // height and width of the model's input
	Resize    Resize
	Filter    resize.Filter
	Mean, Std [3]float32 // of RGB in 0..1
	// EXIF turns the image upright first, as its metadata says. open_clip does not.
	EXIF bool
}

// OpenAI's statistics, which most CLIP models share.
var (
	clipMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	clipStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// PlanFor is the plan that a model's configuration asks for: open_clip's defaults where it is silent.
func PlanFor(c model.Config) Plan {
	p := Plan{Size: c.ImageSize, Resize: Resize(c.ResizeMode), Mean: c.Mean, Std: c.Std}
	if p.Resize == "" {
		p.Resize = Shortest
	}
	if c.Interpolation == resize.Bilinear.String() {
		p.Filter = resize.Bilinear
	}
	if p.Std == [3]float32{} {
		p.Mean, p.Std = clipMean, clipStd
	}
	return p
}

// check refuses a plan that no image could follow.
func (p Plan) check() error {
	switch {
	case p.Size < 1 || p.Size > 1<<14:
		return fault.New(fault.Invalid, "impossible image size %d", p.Size)
	case p.Resize != Shortest && p.Resize != Squash && p.Resize != Longest:
		return fault.New(fault.Invalid, "unknown resize mode %q: shortest, squash and longest exist", p.Resize)
	case p.Filter > resize.Bilinear:
		return fault.New(fault.Invalid, "unknown filter %d", p.Filter)
	case p.Std[0] <= 0 || p.Std[1] <= 0 || p.Std[2] <= 0:
		return fault.New(fault.Invalid, "a standard deviation must be positive: %v", p.Std)
	}
	return nil
}

// canonical is the text that is hashed. Its lines are the operations in their order.
func (p Plan) canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vitrine-preprocessing %d\n", planVersion)
	if p.EXIF {
		b.WriteString("exif-orientation\n")
	}
	fmt.Fprintf(&b, "resize %s %d %s antialias\n", p.Resize, p.Size, p.Filter)
	switch p.Resize {
	case Shortest:
		fmt.Fprintf(&b, "centre-crop %d\n", p.Size)
	case Longest:
		fmt.Fprintf(&b, "centre-pad %d 0\n", p.Size)
	}
	fmt.Fprintf(&b, "rgb\nscale 1/255\nnormalise mean %s std %s\n", floats(p.Mean), floats(p.Std))
	return b.String()
}

// floats prints values so that they parse back to the same float32.
func floats(v [3]float32) string {
	s := make([]string, len(v))
	for i, f := range v {
		s[i] = strconv.FormatFloat(float64(f), 'g', -1, 32)
	}
	return strings.Join(s, ",")
}

// Hash identifies the plan: "sha256:<hex>" of a canonical text.
func (p Plan) Hash() string {
	sum := sha256.Sum256([]byte(p.canonical()))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// String is the plan in words, for metadata and logs.
func (p Plan) String() string {
	lines := strings.Split(strings.TrimSpace(p.canonical()), "\n")
	return strings.Join(lines[1:], "; ")
}
