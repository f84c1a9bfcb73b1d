// Package photo makes the images that load is made of: photographs at a chosen size, noise, or the user's
// own files.
package photo

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/draw"

	"github.com/vitrine-project/vitrine/internal/lab/target"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// The photographs are those of testdata/photos: a portrait of an astronaut (NASA, public domain) and a cup
// of coffee (Rachel Michetti, CC0), as scikit-image distributes them.
//
//go:embed built/*.jpg
var built embed.FS

const (
	defaultQuality = 85
	noiseImages    = 4    // of one specification
	maxSide        = 8192 // pixels
	maxFiles       = 1000
)

// Inputs makes images of a specification, the same ones each time, and says in words what they are:
//
//	photo:640x480:q85   the two built-in photographs, cropped to the proportions and scaled
//	noise:224x224:q85   four images of random pixels; :s7 is another seed
//	dir:PATH            the JPEG files of a folder, or one file, as they are
func Inputs(spec string) ([]target.Image, string, error) {
	kind, rest, _ := strings.Cut(spec, ":")
	var files []file
	var about string
	var err error
	switch kind {
	case "photo", "noise":
		files, about, err = drawn(kind, rest)
	case "dir":
		files, err = folder(rest)
		about = "JPEG files"
	default:
		err = errors.New("want photo:WxH:qN, noise:WxH:qN or dir:PATH")
	}
	if err != nil {
		return nil, "", fmt.Errorf("input %q: %w", spec, err)
	}
	images, err := prepare(files)
	if err != nil {
		return nil, "", fmt.Errorf("input %q: %w", spec, err)
	}
	return images, fmt.Sprintf("%s, %s", about, sizes(files)), nil
}

// file is an encoded image.
type file struct {
	name string
	data []byte
}

// sizes are the sizes of files in words.
func sizes(files []file) string {
	small, large := len(files[0].data), 0
	for _, f := range files {
		small, large = min(small, len(f.data)), max(large, len(f.data))
	}
	text := fmt.Sprintf("%.1f kB", float64(small)/1000)
	if large != small {
		text = fmt.Sprintf("%.1f to %.1f kB", float64(small)/1000, float64(large)/1000)
	}
	if len(files) == 1 {
		return "1 image of " + text
	}
	return fmt.Sprintf("%d images of %s", len(files), text)
}

// settings are what stands behind photo: and noise:.
type settings struct {
	width, height, quality int
	seed                   uint64
}

func parseSettings(text string) (settings, error) {
	s := settings{quality: defaultQuality}
	size, rest, more := strings.Cut(text, ":")
	w, h, _ := strings.Cut(size, "x")
	var errW, errH error
	s.width, errW = strconv.Atoi(w)
	s.height, errH = strconv.Atoi(h)
	if errW != nil || errH != nil || min(s.width, s.height) < 1 || max(s.width, s.height) > maxSide {
		return s, fmt.Errorf("%q is no size such as 224x224, up to %d", size, maxSide)
	}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ":")
		if err := s.set(part); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *settings) set(part string) error {
	if number, ok := strings.CutPrefix(part, "q"); ok {
		q, err := strconv.Atoi(number)
		if err != nil || q < 1 || q > 100 {
			return fmt.Errorf("%q is no quality from q1 to q100", part)
		}
		s.quality = q
		return nil
	}
	if number, ok := strings.CutPrefix(part, "s"); ok {
		seed, err := strconv.ParseUint(number, 10, 64)
		s.seed = seed
		return err
	}
	return fmt.Errorf("unknown %q: qN is the quality, sN a seed", part)
}

// drawn makes photographs or noise and encodes them.
func drawn(kind, text string) ([]file, string, error) {
	s, err := parseSettings(text)
	if err != nil {
		return nil, "", err
	}
	pictures := noise(s)
	about := fmt.Sprintf("noise %dx%d, JPEG quality %d", s.width, s.height, s.quality)
	if kind == "photo" {
		if pictures, err = photographs(s); err != nil {
			return nil, "", err
		}
		about = fmt.Sprintf("photographs %dx%d, JPEG quality %d", s.width, s.height, s.quality)
	}
	var files []file
	for i, p := range pictures {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: s.quality}); err != nil {
			return nil, "", err
		}
		files = append(files, file{fmt.Sprintf("%s-%d", kind, i), b.Bytes()})
	}
	return files, about, nil
}

// noise is pixels that are independent and uniform: the worst case of every codec.
func noise(s settings) (all []image.Image) {
	rng := rand.New(rand.NewPCG(s.seed, 0x6e6f697365))
	for range noiseImages {
		m := image.NewRGBA(image.Rect(0, 0, s.width, s.height))
		for i := range m.Pix {
			m.Pix[i] = byte(rng.Uint32())
			if i%4 == 3 {
				m.Pix[i] = 255
			}
		}
		all = append(all, m)
	}
	return all
}

func photographs(s settings) (all []image.Image, err error) {
	entries, err := built.ReadDir("built")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := built.ReadFile("built/" + e.Name())
		if err != nil {
			return nil, err
		}
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		out := image.NewRGBA(image.Rect(0, 0, s.width, s.height))
		draw.CatmullRom.Scale(out, out.Bounds(), m, crop(m.Bounds(), s.width, s.height), draw.Src, nil)
		all = append(all, out)
	}
	return all, nil
}

// crop is the largest part at the centre of r with the proportions of w to h.
func crop(r image.Rectangle, w, h int) image.Rectangle {
	cw, ch := r.Dx(), r.Dx()*h/w
	if ch > r.Dy() {
		cw, ch = r.Dy()*w/h, r.Dy()
	}
	cw, ch = max(1, cw), max(1, ch)
	at := r.Min.Add(image.Pt((r.Dx()-cw)/2, (r.Dy()-ch)/2))
	return image.Rectangle{at, at.Add(image.Pt(cw, ch))}
}

// folder reads the JPEG files of a folder in the order of their names, or one file.
func folder(path string) ([]file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	paths := []string{path}
	if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(glob(path), "*")); err != nil {
			return nil, err
		}
		slices.Sort(paths)
	}
	var files []file
	for _, p := range paths {
		if len(files) == maxFiles {
			break
		}
		if s, err := os.Stat(p); err != nil || s.IsDir() {
			continue
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		if kind, err := preproc.Sniff(data); err == nil && kind == preproc.JPEG {
			files = append(files, file{filepath.Base(p), data})
		}
	}
	if len(files) == 0 {
		return nil, errors.New("no JPEG files there")
	}
	return files, nil
}

// glob is a path in which no character stands for others.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// reference is the model whose preprocessing tensors have: the reference's own.
const reference = "ViT-B-32-quickgelu"

// prepare makes the forms that formats need of each file, with the reference model's preprocessing.
func prepare(files []file) ([]target.Image, error) {
	config, ok := model.Preset(reference)
	if !ok {
		return nil, fmt.Errorf("no preset %s", reference)
	}
	plan := preproc.PlanFor(config)
	p, err := preproc.New(plan, preproc.Options{})
	if err != nil {
		return nil, err
	}
	var images []target.Image
	for _, f := range files {
		pixels, floats := newRow(tensor.FormatUint8HWC, plan.Size), newRow(tensor.FormatFloat32CHW, plan.Size)
		for _, row := range []row{pixels, floats} {
			if _, err := p.Into(f.data, row); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		images = append(images, target.Image{Name: f.name, JPEG: f.data, Pixels: pixels.bytes,
			Tensor: tensor.Float32s(floats.bytes), Width: plan.Size, Height: plan.Size})
	}
	return images, nil
}

// row is an image's memory outside of an engine.
type row struct {
	format tensor.Format
	bytes  []byte
}

func newRow(f tensor.Format, size int) row { return row{f, tensor.AlignedBytes(f.Size(size, size))} }

func (r row) Format() tensor.Format { return r.format }
func (r row) Bytes() []byte         { return r.bytes }
func (r row) Release()              {}
