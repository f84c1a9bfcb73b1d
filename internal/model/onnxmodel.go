package model

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

// ONNXFile is a model that is an ONNX graph: an engine runs the file, nobody here knows what is in it.
// One input takes images, one output gives embeddings.
type ONNXFile struct {
	Path          string
	Info          *onnx.Info
	Input, Output onnx.Value
	ChannelsLast  bool  // [batch, height, width, 3] instead of [batch, 3, height, width]
	Batch         int   // the only batch size that the graph takes; 0 is any
	WeightBytes   int64 // of this file and those beside it
}

// defaultPreprocessing is the warning where nothing says how images are to be prepared.
const defaultPreprocessing = "nothing beside the file or in it says how images are prepared; CLIP's way is taken"

// onnxName is what a folder's ONNX file is called.
const onnxName = "model.onnx"

// onlyONNX tells whether a folder holds an ONNX file and no weights that Vitrine's own engines read.
func onlyONNX(dir string) bool {
	for _, name := range append(weightFiles[:len(weightFiles):len(weightFiles)], weightIndex) {
		if hasFile(dir, name) {
			return false
		}
	}
	return hasFile(dir, onnxName)
}

// IsONNX tells whether a reference is the path of an ONNX file.
func IsONNX(path string) bool { return strings.EqualFold(filepath.Ext(path), ".onnx") }

// openONNX describes an ONNX file as a model. What it is called and how images are prepared for it is
// said by the files beside it (open_clip_config.json, preprocessor_config.json), else by the metadata
// that Vitrine's own exports carry; else CLIP's preprocessing is taken and Model.Warnings says so.
func openONNX(path string, side int) (*Model, error) {
	info, err := onnx.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &ONNXFile{Path: path, Info: info, WeightBytes: info.WeightBytes}
	if err := f.findTensors(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := &Model{ONNX: f, Source: Source{
		Path: path, ModelName: info.Metadata[metaModelName], Pretrained: info.Metadata[metaPretrained],
		Synthetic: info.Metadata[metaSynthetic] == "true",
	}}
	m.Config.Architecture = cmp.Or(info.Graph, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	if m.Config.EmbedDim, err = f.dim(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := m.prepareONNX(side); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.WeightsHash, err = f.hash()
	return m, err
}

// prepareONNX finds out how images are prepared and how large they are.
func (m *Model) prepareONNX(side int) error {
	f, c := m.ONNX, &m.Config
	c.Mean, c.Std, c.Interpolation, c.ResizeMode = openAIMean, openAIStd, "bicubic", "shortest"
	size, err := f.side()
	if err != nil {
		return err
	}
	stated, err := m.readSidecar()
	if err != nil {
		return err
	}
	if c.ImageSize = cmp.Or(size, side, stated); c.ImageSize == 0 {
		c.ImageSize = 224
		m.Warnings = append(m.Warnings, "the graph takes images of any size and nothing says which; 224 pixels are taken")
	}
	if size != 0 && side != 0 && size != side {
		return fmt.Errorf("image_size %d is wanted, input %s has %d", side, f.Input, size)
	}
	if c.ImageSize < 1 || c.ImageSize > maxImageSize {
		return fmt.Errorf("image size %d is not between 1 and %d", c.ImageSize, maxImageSize)
	}
	return c.validatePreprocessing()
}

// readSidecar takes preprocessing from the first place that has it and returns the image size that is
// stated there, 0 if none.
func (m *Model) readSidecar() (size int, err error) {
	c, dir := &m.Config, filepath.Dir(m.ONNX.Path)
	switch text := m.ONNX.Info.Metadata[metaConfig]; {
	case hasFile(dir, openCLIPConfig):
		return c.sidecarOpenCLIP(inFolder(dir))
	case hasFile(dir, hfPreprocessor), hasFile(dir, hfProcessor):
		return c.sidecarHuggingFace(inFolder(dir))
	case text != "":
		return c.sidecarOpenCLIP(configDir{m.ONNX.Path, func(string) ([]byte, error) { return []byte(text), nil }})
	}
	m.Warnings = append(m.Warnings, defaultPreprocessing)
	return 0, nil
}

// sidecarOpenCLIP reads preprocess_cfg of open_clip_config.json, and image_size where it is there.
func (c *Config) sidecarOpenCLIP(d configDir) (size int, err error) {
	o, err := d.object(openCLIPConfig)
	if err != nil {
		return 0, err
	}
	p := o.sub("preprocess_cfg")
	size = o.sub("model_cfg").sub("vision_cfg").square("image_size", p.square("size", 0))
	c.ImageSize = cmp.Or(size, p.square("size", 0))
	c.openCLIPPreprocess(p)
	return size, *o.err
}

// sidecarHuggingFace reads preprocessor_config.json.
func (c *Config) sidecarHuggingFace(d configDir) (size int, err error) {
	p, err := readProcessor(d)
	if err != nil {
		return 0, err
	}
	key := "size"
	if p.bool("do_center_crop", true) {
		key = "crop_size"
	}
	size = cmp.Or(p.side(key, "height"), p.side(key, "shortest_edge"))
	c.ImageSize = size
	c.hfPreprocess(p)
	return size, *p.err
}

// findTensors finds the input that takes images and the output that gives embeddings.
func (f *ONNXFile) findTensors() error {
	if len(f.Info.Inputs) != 1 {
		return fmt.Errorf("an image model has one input; this graph has %d: %v", len(f.Info.Inputs), f.Info.Inputs)
	}
	f.Input = f.Info.Inputs[0]
	if t := f.Input.Type; t != onnx.Float && t != onnx.Float16 {
		return fmt.Errorf("input %s: want float32 or float16 images", f.Input)
	}
	if len(f.Input.Dims) != 4 {
		return fmt.Errorf("input %s: want [batch, 3, height, width] or [batch, height, width, 3]", f.Input)
	}
	if b := f.Input.Dims[0]; b.Fixed() {
		f.Batch = int(b.Size)
	}
	return f.findOutput()
}

// outputNames are what exporters call an embedding, in the order in which they are looked for where a
// graph has several outputs.
var outputNames = []string{ONNXOutput, "image_embeds", "image_features", "embeddings", "features", "pooler_output", "sentence_embedding"}

func (f *ONNXFile) findOutput() error {
	all := f.Info.Outputs
	at := 0
	if len(all) > 1 {
		at = -1
		for _, name := range outputNames {
			if i := slices.IndexFunc(all, func(v onnx.Value) bool { return v.Name == name }); i >= 0 {
				at = i
				break
			}
		}
	}
	if at < 0 {
		return fmt.Errorf("the graph has %d outputs %v, none of which is called %s", len(all), all, strings.Join(outputNames, ", "))
	}
	f.Output = all[at]
	if t := f.Output.Type; t != onnx.Float && t != onnx.Float16 {
		return fmt.Errorf("output %s: want float32 or float16 embeddings", f.Output)
	}
	return nil
}

// dim is the size of the embedding.
func (f *ONNXFile) dim() (int, error) {
	d := f.Output.Dims
	if len(d) != 2 || !d[1].Fixed() || d[1].Size > maxEmbedDim {
		return 0, fmt.Errorf("output %s: want [batch, N], N from 1 to %d: an embedding for each image", f.Output, maxEmbedDim)
	}
	return int(d[1].Size), nil
}

// side is the height and width of the input, 0 if they vary, and finds where the channels are.
func (f *ONNXFile) side() (int, error) {
	d := f.Input.Dims
	height, width := d[2], d[3]
	switch {
	case d[1].Size == 3:
	case d[3].Size == 3:
		height, width, f.ChannelsLast = d[1], d[2], true
	case d[1].Fixed() || d[3].Fixed() && !d[1].Fixed():
		return 0, fmt.Errorf("input %s has no dimension of 3 channels", f.Input)
	}
	if !height.Fixed() || !width.Fixed() {
		return 0, nil
	}
	if height.Size != width.Size || height.Size > maxImageSize {
		return 0, fmt.Errorf("input %s: want square images of at most %d pixels a side", f.Input, maxImageSize)
	}
	return int(height.Size), nil
}

// hash is SHA-256 over the file and the files of weights beside it, each behind its name and size.
func (f *ONNXFile) hash() (string, error) {
	h := sha256.New()
	dir, name := filepath.Split(f.Path)
	for i, part := range append([]string{name}, f.Info.External...) {
		if err := hashFile(h, filepath.Join(dir, part), i > 0, part); err != nil {
			return "", err
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(w io.Writer, path string, named bool, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("weights of the ONNX file: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s: not a regular file", path), err)
	}
	if !named {
		name = "model"
	}
	fmt.Fprintf(w, "%s %d\n", name, st.Size())
	_, err = io.Copy(w, file)
	return err
}

// Preprocessing overrides how images are prepared for an ONNX model, as a model repository's
// parameters do; empty fields change nothing.
type Preprocessing struct {
	Mean, Std                 string // three numbers, separated by commas: of RGB in 0..1
	Interpolation, ResizeMode string
	ImageSize                 int // where the graph takes any
}

// Given tells whether anything is to be changed.
func (p Preprocessing) Given() bool { return p != Preprocessing{} }

// applyTo changes the model.
func (p Preprocessing) applyTo(m *Model) error {
	c := &m.Config
	if m.ONNX == nil {
		return errors.New("mean, std, interpolation, resize_mode and image_size are said by the configuration beside the weights; only an ONNX file takes them")
	}
	for _, v := range []struct {
		name, text string
		to         *[3]float32
	}{{"mean", p.Mean, &c.Mean}, {"std", p.Std, &c.Std}} {
		if v.text == "" {
			continue
		}
		var list []float32
		if json.Unmarshal([]byte("["+v.text+"]"), &list) != nil || len(list) != 3 {
			return fmt.Errorf("%s: want three numbers separated by commas, not %q", v.name, v.text)
		}
		*v.to = [3]float32(list)
	}
	c.Interpolation = cmp.Or(p.Interpolation, c.Interpolation)
	c.ResizeMode = cmp.Or(p.ResizeMode, c.ResizeMode)
	if p.Mean != "" && p.Std != "" {
		m.Warnings = slices.DeleteFunc(m.Warnings, func(w string) bool { return w == defaultPreprocessing })
	}
	return c.validatePreprocessing()
}
