package exif

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// tiff is a directory with one entry before the orientation.
func tiff(order binary.AppendByteOrder, typ uint16, value uint32) []byte {
	b := []byte("II*\x00")
	if order.String() == binary.BigEndian.String() {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	b = entry(order, b, 0x010f, 2, 4, 0)
	b = entry(order, b, tagOrientation, typ, 1, value)
	return order.AppendUint32(b, 0)
}

func entry(order binary.AppendByteOrder, b []byte, tag, typ uint16, count, value uint32) []byte {
	b = order.AppendUint16(b, tag)
	b = order.AppendUint16(b, typ)
	b = order.AppendUint32(b, count)
	if typ == 3 {
		b = order.AppendUint16(b, uint16(value))
		return order.AppendUint16(b, 0)
	}
	return order.AppendUint32(b, value)
}

func inApp1(payload []byte) []byte {
	b := []byte("\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xe1")
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)+8))
	b = append(append(b, prefix...), payload...)
	return append(b, "\xff\xda\x00\x02"...)
}

func inChunk(kind string, payload []byte) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x01teSt\x01crc.")
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(append(b, kind...), payload...), "crc."...)
}

func inRIFF(payload []byte) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x01\x00\x00\x00x\x00EXIF")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

func TestOrientation(t *testing.T) {
	little, big := tiff(binary.LittleEndian, 3, 6), tiff(binary.BigEndian, 3, 8)
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"jpeg little":       {inApp1(little), 6},
		"jpeg big":          {inApp1(big), 8},
		"png":               {inChunk("eXIf", big), 8},
		"webp":              {inRIFF(little), 6},
		"webp with prefix":  {inRIFF(append(bytes.Clone(prefix), big...)), 8},
		"long":              {inChunk("eXIf", tiff(binary.BigEndian, 4, 3)), 3},
		"out of range":      {inChunk("eXIf", tiff(binary.BigEndian, 3, 9)), 1},
		"zero":              {inChunk("eXIf", tiff(binary.LittleEndian, 3, 0)), 1},
		"wrong type":        {inChunk("eXIf", tiff(binary.LittleEndian, 5, 6)), 1},
		"other chunk":       {inChunk("iCCP", big), 1},
		"cut directory":     {inChunk("eXIf", big[:20]), 1},
		"no directory":      {inChunk("eXIf", big[:8]), 1},
		"directory outside": {inChunk("eXIf", []byte("II*\x00\xff\xff\xff\xff")), 1},
		"not tiff":          {inChunk("eXIf", []byte("hello, world")), 1},
		"after the scan":    {append([]byte("\xff\xd8\xff\xda\x00\x02"), inApp1(big)[2:]...), 1},
		"gif":               {[]byte("GIF89a"), 1},
		"nothing":           {nil, 1},
	} {
		if got := Orientation(c.data); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func FuzzExif(f *testing.F) {
	f.Add(inApp1(tiff(binary.LittleEndian, 3, 6)))
	f.Add(inChunk("eXIf", tiff(binary.BigEndian, 3, 6)))
	f.Add(inRIFF(tiff(binary.LittleEndian, 4, 6)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := Orientation(data); o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
	})
}
