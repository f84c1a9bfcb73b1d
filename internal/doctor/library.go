// Package doctor finds out what a machine has that Vitrine can use: instructions, memory, cards, shared
// libraries, a Python with torch; and for what is missing, what to install.
package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// Library is a shared library that adds something.
type Library struct {
	Name    string `json:"name"`
	For     string `json:"for"` // what it adds
	Found   bool   `json:"found"`
	Path    string `json:"path,omitempty"`    // the file that was loaded
	Version string `json:"version,omitempty"` // as its file name tells it
	Install string `json:"install,omitempty"` // how to get it, where it is missing
	Problem string `json:"problem,omitempty"` // why it could not be loaded
}

// Wanted is a library to look for: file names or paths, tried in turn.
type Wanted struct {
	Name, For, Install string
	Files              []string
	// Version asks the library; nil takes the number in its file's name.
	Version func(*dynlib.Library) string
}

// Libraries are what Vitrine loads where it is there; onnx are the files that may be ONNX Runtime.
func Libraries(onnx []string) []Wanted {
	return []Wanted{
		{"libjpeg-turbo", "decoding JPEG faster (--jpeg)", "apt-get install libturbojpeg0", []string{"libturbojpeg.so.0", "libturbojpeg.so"}, unversioned},
		{"libwebp", "nothing yet: WebP is decoded by code of our own", "apt-get install libwebp7", []string{"libwebp.so.7", "libwebp.so.6"}, webpVersion},
		{"ONNX Runtime", "ONNX models, and other vendors' accelerators", "pip install onnxruntime, or onnxruntime-gpu", onnx, nil},
		{"NVIDIA driver (libcuda)", "computing on NVIDIA cards", "NVIDIA's driver; in a container, its container toolkit and --gpus all",
			[]string{"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"}, nil},
		{"NVML (libnvidia-ml)", "cards' memory, use, power and energy in metrics", "comes with NVIDIA's driver",
			[]string{"libnvidia-ml.so.1", "/usr/local/nvidia/lib64/libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"}, nil},
		{"nvJPEG", "decoding JPEG on NVIDIA cards (--decode)", "pip install nvidia-nvjpeg, and its file by --nvjpeg; or NVIDIA's toolkit",
			nvjpeg.Names, nvjpeg.Version},
	}
}

// unversioned is a library that does not tell: the number in its file's name is its interface's.
func unversioned(*dynlib.Library) string { return "" }

// webpVersion is what libwebp says; its file's number is its interface's.
func webpVersion(so *dynlib.Library) string {
	var ask func() int32
	if err := so.Bind(&ask, "WebPGetEncoderVersion"); err != nil {
		return ""
	}
	v := ask()
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&255, v&255)
}

// Find loads each library, to see whether it can be. They stay loaded: not all of them bear to be closed.
func Find(wanted []Wanted) (all []Library) {
	for _, w := range wanted {
		all = append(all, w.find())
	}
	return all
}

func (w *Wanted) find() Library {
	l := Library{Name: w.Name, For: w.For}
	so, err := dynlib.Open(w.Files...)
	if err != nil {
		l.Install, l.Problem = w.Install, err.Error()
		return l
	}
	l.Found, l.Path = true, so.Name()
	if maps, err := os.Open("/proc/self/maps"); err == nil {
		l.Path = mapped(maps, so.Name())
		_ = maps.Close() // it was only read
	}
	if w.Version != nil {
		l.Version = w.Version(so)
	} else {
		l.Version = version(l.Path)
	}
	return l
}

// mapped is the file behind a library's name, its links followed: the mapped file whose name begins as the
// name does up to ".so".
func mapped(maps io.Reader, name string) string {
	stem, _, _ := strings.Cut(filepath.Base(name), ".so")
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			continue
		}
		path := strings.Join(fields[5:], " ")
		if strings.HasPrefix(filepath.Base(path), stem+".so") {
			return path
		}
	}
	return name
}

// version is the number at the end of a library's file name, 580.95.05 of libcuda.so.580.95.05; a number
// without a point is only an interface's.
func version(path string) string {
	_, number, _ := strings.Cut(filepath.Base(path), ".so.")
	if !strings.Contains(number, ".") {
		return ""
	}
	return number
}
