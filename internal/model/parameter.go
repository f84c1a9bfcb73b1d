package model

import "fmt"

// towerPrefix is what open_clip puts before the image tower's tensors in a whole model.
const towerPrefix = "visual."

// A parameter is one tensor of the image tower: its open_clip name, its shape, its place in Weights.
// The list of them, in this order, is what loading, hashing, generating and exporting walk over.
type parameter struct {
	name  string // without towerPrefix
	shape []int
	dst   *Tensor
}

// parameters lists the image tower's tensors in canonical order, which is the order of the forward
// pass, and gives w its blocks.
func (w *Weights) parameters(c Config) []parameter {
	if len(w.Blocks) != c.Layers {
		w.Blocks = make([]Block, c.Layers)
	}
	list := []parameter{
		{"conv1.weight", []int{c.Width, 3, c.PatchSize, c.PatchSize}, &w.Patch},
		{"class_embedding", []int{c.Width}, &w.Class},
		{"positional_embedding", []int{c.Tokens(), c.Width}, &w.Position},
	}
	list = append(list, w.PreNorm.parameters("ln_pre", c.Width)...)
	for i := range w.Blocks {
		list = append(list, w.Blocks[i].parameters(fmt.Sprintf("transformer.resblocks.%d.", i), c)...)
	}
	list = append(list, w.PostNorm.parameters("ln_post", c.Width)...)
	return append(list, parameter{"proj", []int{c.Width, c.EmbedDim}, &w.Proj})
}

func (b *Block) parameters(at string, c Config) []parameter {
	list := b.LN1.parameters(at+"ln_1", c.Width)
	list = append(list,
		parameter{at + "attn.in_proj_weight", []int{3 * c.Width, c.Width}, &b.QKV.Weight},
		parameter{at + "attn.in_proj_bias", []int{3 * c.Width}, &b.QKV.Bias})
	list = append(list, b.Out.parameters(at+"attn.out_proj", c.Width, c.Width)...)
	list = append(list, b.LN2.parameters(at+"ln_2", c.Width)...)
	list = append(list, b.FC1.parameters(at+"mlp.c_fc", c.MLP, c.Width)...)
	return append(list, b.FC2.parameters(at+"mlp.c_proj", c.Width, c.MLP)...)
}

func (n *Norm) parameters(at string, width int) []parameter {
	return []parameter{{at + ".weight", []int{width}, &n.Weight}, {at + ".bias", []int{width}, &n.Bias}}
}

func (l *Linear) parameters(at string, out, in int) []parameter {
	return []parameter{{at + ".weight", []int{out, in}, &l.Weight}, {at + ".bias", []int{out}, &l.Bias}}
}

func (p parameter) len() int { return product(p.shape) }

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Tensors lists the weights in canonical order.
func (m *Model) Tensors() []Tensor {
	params := m.Weights.parameters(m.Config)
	list := make([]Tensor, len(params))
	for i, p := range params {
		list[i] = *p.dst
	}
	return list
}
