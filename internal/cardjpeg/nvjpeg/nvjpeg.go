// Package nvjpeg is the part of NVIDIA's libnvjpeg that is used: batches of whole JPEG files decoded to RGB
// in a device's memory. The library is loaded at run time and adds something where it is there; it comes
// with the CUDA toolkit or from PyPI, not with the driver. The engines that decode JPEG in hardware (A100,
// A30, Hopper, Ada, Blackwell) are reached through the driver's libnvcuvid, which a container has only with
// the capability "video".
package nvjpeg

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// Names are where the library is looked for unless a file is named.
var Names = []string{"libnvjpeg.so.13", "libnvjpeg.so.12",
	"/usr/local/cuda/lib64/libnvjpeg.so.13", "/usr/local/cuda/lib64/libnvjpeg.so.12"}

// Backend is what decodes.
type Backend int32

// The library's numbers for nvjpegBackend_t.
const (
	// GPUHybrid decodes Huffman codes on the processor in small batches, on the multiprocessors in large ones.
	GPUHybrid Backend = 2
	// Hardware is the card's JPEG engines: baseline files of one scan, neither 4:1:1 nor 4:1:0.
	Hardware Backend = 3
)

// String names a backend.
func (b Backend) String() string {
	if b == Hardware {
		return "hardware"
	}
	return "gpu_hybrid"
}

// Image is where a decoded file goes: rows of Pitch bytes, three a pixel, in the device's memory.
type Image struct {
	At    uint64
	Pitch int
}

// Codec decodes on the device whose context was current when it was made; one call at a time, on threads
// where that context is current.
type Codec interface {
	Backend() Backend
	// Supports tells from a file's header whether the backend can decode it.
	Supports(file []byte) (bool, error)
	// Decode decodes files to images in a stream. The files, which are best in pinned memory, must stay
	// where they are until the stream has been waited for. What the stream did before must be over: on
	// Hopper the engines write without waiting for it.
	Decode(files [][]byte, to []Image, stream uintptr) error
	Close() error
}

// Library is a loaded libnvjpeg.
type Library struct {
	so *dynlib.Library
	functions
}

// Load loads the first of names that can be, Names if there are none.
func Load(names ...string) (*Library, error) {
	if len(names) == 0 {
		names = Names
	}
	so, err := dynlib.Open(names...)
	if err != nil {
		return nil, err
	}
	l := &Library{so: so}
	for _, s := range l.symbols() {
		if err := so.Bind(s.fn, s.name); err != nil {
			return nil, errors.Join(fmt.Errorf("libnvjpeg is too old: %w", err), so.Close())
		}
	}
	return l, nil
}

// Name is what it was loaded by.
func (l *Library) Name() string { return l.so.Name() }

// Version is that of a library that was loaded by somebody else, in words; empty if it does not tell.
func Version(so *dynlib.Library) string {
	var f functions
	if err := so.Bind(&f.nvjpegGetProperty, "nvjpegGetProperty"); err != nil {
		return ""
	}
	if v := f.Version(); v > 0 {
		return VersionText(v)
	}
	return ""
}

// Version is the library's, 12004000 for 12.4.0; 0 if it does not tell.
func (f *functions) Version() int {
	version := 0
	for property := range int32(3) { // major, minor, patch: libraryPropertyType
		var v int32
		if f.nvjpegGetProperty(property, &v) != success {
			return 0
		}
		version = 1000*version + int(v)
	}
	return version
}

// VersionText is Version as people write it.
func VersionText(v int) string { return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000) }

// Flags of nvjpegCreateEx.
const (
	flagStrict      = 4  // files that break the specification are refused
	flagInterpolate = 32 // chroma is interpolated, as libjpeg does ("fancy"), not repeated
)

// firstInterpolating is the version that knows flagInterpolate.
const firstInterpolating = 12_001_000

func (l *Library) flags() uint32 {
	if l.Version() < firstInterpolating {
		return flagStrict
	}
	return flagStrict | flagInterpolate
}

// Open makes a codec with the hardware backend if the card has one, else with the hybrid one.
func (l *Library) Open() (Codec, error) {
	c, hardware := l.open(Hardware)
	if hardware == nil {
		return c, nil
	}
	c, err := l.open(GPUHybrid)
	if err != nil {
		return nil, errors.Join(hardware, err)
	}
	return c, nil
}

func (l *Library) open(b Backend) (_ Codec, err error) {
	c := &codec{functions: &l.functions, backend: b}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("nvJPEG's backend %v: %w", b, err), c.Close())
		}
	}()
	if err := check("nvjpegCreateEx", l.nvjpegCreateEx(int32(b), nil, nil, l.flags(), &c.handle)); err != nil {
		return nil, err
	}
	if err := check("nvjpegJpegStateCreate", l.nvjpegJpegStateCreate(c.handle, &c.state)); err != nil {
		return nil, err
	}
	if err := check("nvjpegJpegStreamCreate", l.nvjpegJpegStreamCreate(c.handle, &c.header)); err != nil {
		return nil, err
	}
	return c, nil
}

// codec is a Codec of the library.
type codec struct {
	*functions
	backend Backend
	handle  uintptr
	state   uintptr
	header  uintptr // of the file that Supports looks at
	size    int     // of the batches that the state is made for; 0 if it must be made anew

	data    []*byte // of one Decode
	lengths []uint64
	images  []image
}

// image is nvjpegImage_t; interleaved pixels are in the first channel.
type image struct {
	channel [4]uint64
	pitch   [4]uint64
}

// Backend is what decodes.
func (c *codec) Backend() Backend { return c.backend }

// Supports asks the hardware backend alone: the other one takes whatever the library can parse.
func (c *codec) Supports(file []byte) (bool, error) {
	if len(file) == 0 || c.nvjpegJpegStreamParseHeader(c.handle, &file[0], uint64(len(file)), c.header) != success {
		return false, nil
	}
	if c.backend != Hardware {
		return true, nil
	}
	var no int32
	err := check("nvjpegDecodeBatchedSupported", c.nvjpegDecodeBatchedSupported(c.handle, c.header, &no))
	return err == nil && no == 0, err
}

// outputRGBI is interleaved RGB in nvjpegOutputFormat_t.
const outputRGBI = 5

// Decode decodes a batch.
func (c *codec) Decode(files [][]byte, to []Image, stream uintptr) error {
	if len(files) == 0 || len(files) != len(to) {
		return fmt.Errorf("%d files for %d images", len(files), len(to))
	}
	if err := c.resize(len(files)); err != nil {
		return err
	}
	c.data, c.lengths, c.images = c.data[:0], c.lengths[:0], c.images[:0]
	for i, f := range files {
		c.data = append(c.data, unsafe.SliceData(f))
		c.lengths = append(c.lengths, uint64(len(f)))
		c.images = append(c.images, image{channel: [4]uint64{to[i].At}, pitch: [4]uint64{uint64(to[i].Pitch)}})
	}
	err := check("nvjpegDecodeBatched", c.nvjpegDecodeBatched(c.handle, c.state, &c.data[0], &c.lengths[0], &c.images[0], stream))
	if err != nil {
		c.size = 0
	}
	return err
}

// resize makes the state that of batches of n files.
func (c *codec) resize(n int) error {
	if c.size == n {
		return nil
	}
	c.size = 0
	const threads = 1 // of the library's own
	if err := check("nvjpegDecodeBatchedInitialize", c.nvjpegDecodeBatchedInitialize(c.handle, c.state, int32(n), threads, outputRGBI)); err != nil {
		return err
	}
	c.size = n
	return nil
}

// Close frees what was made.
func (c *codec) Close() (err error) {
	if c.header != 0 {
		err = errors.Join(err, check("nvjpegJpegStreamDestroy", c.nvjpegJpegStreamDestroy(c.header)))
	}
	if c.state != 0 {
		err = errors.Join(err, check("nvjpegJpegStateDestroy", c.nvjpegJpegStateDestroy(c.state)))
	}
	if c.handle != 0 {
		err = errors.Join(err, check("nvjpegDestroy", c.nvjpegDestroy(c.handle)))
	}
	c.header, c.state, c.handle = 0, 0, 0
	return err
}
