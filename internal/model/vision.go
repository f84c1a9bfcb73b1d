// Package model holds what an embedding model is: its dimensions, its weights, where they come from,
// and the identity of the vector space that they span.
package model

import "github.com/vitrine-project/vitrine/internal/tensor"

// Activation is the MLP's non-linearity.
type Activation uint8

const (
	// GELU is x * Phi(x) with the error function (LAION's weights).
	GELU Activation = iota
	// QuickGELU is x * sigmoid(1.702 x) (OpenAI's weights).
	QuickGELU
)

// String is the name used in metadata.
func (a Activation) String() string {
	if a == QuickGELU {
		return "quick_gelu"
	}
	return "gelu"
}

// Config is the image tower of a CLIP model (Radford et al. 2021, section 2.4; open_clip's
// VisionTransformer) and the preprocessing that its weights were trained with.
type Config struct {
	Architecture string // open_clip's name where known ("ViT-B-32"), else a description of the dimensions
	ImageSize    int    // input height and width, pixels
	PatchSize    int
	Width        int // hidden size
	Layers       int
	Heads        int
	MLP          int // hidden size of the MLP
	EmbedDim     int // size of the embedding
	Activation   Activation
	Epsilon      float32 // LayerNorm's, 1e-5

	Mean, Std     [3]float32 // of RGB in 0..1
	Interpolation string     // "bicubic", "bilinear"
	ResizeMode    string     // "shortest" (and centre crop), "squash", "longest"
}

// Tokens is the sequence length: the patches and the class token (50 for ViT-B/32).
func (c Config) Tokens() int { g := c.ImageSize / c.PatchSize; return g*g + 1 }

// HeadDim is the size of one attention head.
func (c Config) HeadDim() int { return c.Width / c.Heads }

// Tensor is one weight: row-major, little-endian, possibly a view into a memory-mapped file, at any alignment.
type Tensor struct {
	Name  string // canonical (open_clip's) name
	DType tensor.DType
	Shape []int
	Data  []byte
}

// Linear is a fully connected layer: y = x Weight^T + Bias, Weight [out, in], Bias [out].
type Linear struct{ Weight, Bias Tensor }

// Norm is a LayerNorm: Weight and Bias [width].
type Norm struct{ Weight, Bias Tensor }

// Block is one residual attention block: x += Out(attention(QKV(LN1 x))); x += FC2(act(FC1(LN2 x))).
type Block struct {
	LN1 Norm
	QKV Linear // [3*width, width]: query, key, value rows in that order
	Out Linear // [width, width]
	LN2 Norm
	FC1 Linear // [mlp, width]
	FC2 Linear // [width, mlp]
}

// Weights are the image tower's parameters in the canonical layout, whichever naming scheme the file had.
type Weights struct {
	Patch    Tensor // [width, 3, patch, patch], no bias
	Class    Tensor // [width]
	Position Tensor // [tokens, width]
	PreNorm  Norm
	Blocks   []Block
	PostNorm Norm
	Proj     Tensor // [width, embed]: embedding = LN(x[class]) Proj
}

// Source says where a model came from.
type Source struct {
	Reference  string // what the user asked for: a folder, a file, "hub:owner/name", "synthetic"
	Path       string // the file that was read, empty for synthetic weights
	ModelName  string // open_clip's model name that this answers to ("ViT-B-32"), may be empty
	Pretrained string // open_clip's pretrained tag that this answers to ("openai"), may be empty
	Synthetic  bool
}

// Model is a loaded image tower.
type Model struct {
	Config  Config
	Weights Weights
	Source  Source
	// WeightsHash identifies the function that the image tower computes: the parameters' values and
	// stored types, and what no tensor shows (activation, heads, epsilon). It is independent of the
	// file's naming scheme and layout: "sha256:<hex>".
	WeightsHash string
	// ONNX is set where the model is an ONNX graph: Weights are empty then, of Config only the image's and
	// the embedding's size, the preprocessing and the name are known, and WeightsHash is that of the file.
	ONNX *ONNXFile
	// Warnings are what had to be assumed about the model.
	Warnings []string

	close func() error
}

// Close unmaps the weights; engines that packed their own copy do not need them any more.
func (m *Model) Close() error {
	if m.close == nil {
		return nil
	}
	c := m.close
	m.close = nil
	return c()
}
