package preproc

import (
	"bytes"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Format is an image file format that is read.
type Format string

const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	WebP Format = "webp"
)

// Sniff tells a file's format from its first bytes. Any other format is refused by its name.
func Sniff(data []byte) (Format, error) {
	switch {
	case has(data, "\xff\xd8\xff"):
		return JPEG, nil
	case has(data, "\x89PNG\r\n\x1a\n"):
		return PNG, nil
	case has(data, "GIF87a"), has(data, "GIF89a"):
		return GIF, nil
	case has(data, "RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		return WebP, nil
	case len(data) == 0:
		return "", fault.New(fault.Invalid, "empty image")
	}
	if name := foreign(data); name != "" {
		return "", fault.New(fault.UnsupportedMedia, "%s is not supported: JPEG, PNG, WebP and GIF are", name)
	}
	return "", fault.New(fault.UnsupportedMedia, "not an image in a known format: JPEG, PNG, WebP and GIF are supported")
}

func has(data []byte, prefix string) bool {
	return len(data) >= len(prefix) && string(data[:len(prefix)]) == prefix
}

// magics are formats that people send and that are not read.
var magics = []struct{ prefix, name string }{
	{"BM", "BMP"},
	{"II*\x00", "TIFF"}, {"MM\x00*", "TIFF"}, {"II+\x00", "TIFF"}, {"MM\x00+", "TIFF"},
	{"%PDF", "PDF"},
	{"\x00\x00\x01\x00", "ICO"},
	{"\xff\x0a", "JPEG XL"}, {"\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"}, {"\xff\x4f\xff\x51", "JPEG 2000"},
	{"8BPS", "PSD"}, {"qoif", "QOI"}, {"PK\x03\x04", "ZIP"}, {"\x1f\x8b", "gzip"},
	{"\x93NUMPY", "NPY"},
}

// foreign names a format that is not read, empty if it is not known either.
func foreign(data []byte) string {
	for _, m := range magics {
		if has(data, m.prefix) {
			return m.name
		}
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return container(string(data[8:12]))
	}
	return markup(data)
}

// container names an ISO base media file by its brand.
func container(brand string) string {
	switch brand {
	case "avif", "avis":
		return "AVIF"
	case "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1":
		return "HEIC"
	}
	return "MP4 video"
}

// markup recognises text formats, of which the error page of some other service is the usual one.
func markup(data []byte) string {
	data = bytes.TrimPrefix(data[:min(len(data), 512)], []byte("\xef\xbb\xbf"))
	text := strings.ToLower(string(bytes.TrimLeft(data, " \t\r\n")))
	switch {
	case strings.HasPrefix(text, "<svg"), strings.HasPrefix(text, "<?xml") && strings.Contains(text, "<svg"):
		return "SVG"
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return "HTML"
	case strings.HasPrefix(text, "<"):
		return "XML"
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return "JSON"
	}
	return ""
}
