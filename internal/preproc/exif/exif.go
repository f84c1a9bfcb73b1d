// Package exif reads the one EXIF tag that decides how pixels are laid out: the orientation.
package exif

import (
	"bytes"
	"encoding/binary"
)

const (
	tagOrientation = 0x0112
	entrySize      = 12
)

// Orientation is the orientation (1 to 8) that the metadata of a JPEG, PNG or WebP file states, 1 where
// there is none or where it makes no sense: a wrong tag never fails an image.
func Orientation(data []byte) int {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		return fromTIFF(inJPEG(data))
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return fromTIFF(inPNG(data))
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return fromTIFF(inWebP(data))
	}
	return 1
}

var prefix = []byte("Exif\x00\x00")

// inJPEG finds the payload of the first APP1 segment with EXIF's prefix, before the first scan.
func inJPEG(b []byte) []byte {
	b = b[2:]
	for len(b) >= 4 && b[0] == 0xff {
		marker := b[1]
		if marker == 0xff { // fill byte
			b = b[1:]
			continue
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if marker == 0xda || n < 2 || len(b) < 2+n {
			return nil
		}
		if payload := b[4 : 2+n]; marker == 0xe1 && bytes.HasPrefix(payload, prefix) {
			return payload
		}
		b = b[2+n:]
	}
	return nil
}

// inPNG finds the eXIf chunk, which may stand before or after the pixels.
func inPNG(b []byte) []byte {
	b = b[8:]
	for len(b) >= 12 {
		n := uint64(binary.BigEndian.Uint32(b))
		if uint64(len(b)) < n+12 {
			return nil
		}
		if string(b[4:8]) == "eXIf" {
			return b[8 : 8+n]
		}
		b = b[n+12:]
	}
	return nil
}

// inWebP finds the EXIF chunk. Chunks are padded to an even size.
func inWebP(b []byte) []byte {
	b = b[12:]
	for len(b) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if uint64(len(b)) < n+8 {
			return nil
		}
		if string(b[:4]) == "EXIF" {
			return b[8 : 8+n]
		}
		b = b[min(n+n&1+8, uint64(len(b))):]
	}
	return nil
}

// fromTIFF reads the tag from the first directory of a TIFF structure.
func fromTIFF(b []byte) int {
	b = bytes.TrimPrefix(b, prefix)
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(b[:4]) {
	case "II*\x00":
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := uint64(order.Uint32(b[4:]))
	if at+2 > uint64(len(b)) {
		return 1
	}
	entries := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(entries) < entrySize {
			return 1
		}
		if order.Uint16(entries) == tagOrientation {
			return valid(order, entries)
		}
		entries = entries[entrySize:]
	}
	return 1
}

// valid is the value of an orientation entry: one SHORT, or one LONG as some writers have it.
func valid(order binary.ByteOrder, entry []byte) int {
	const short, long = 3, 4
	if order.Uint32(entry[4:]) != 1 {
		return 1
	}
	v := uint32(0)
	switch order.Uint16(entry[2:]) {
	case short:
		v = uint32(order.Uint16(entry[8:]))
	case long:
		v = order.Uint32(entry[8:])
	}
	if v < 1 || v > 8 {
		return 1
	}
	return int(v)
}
