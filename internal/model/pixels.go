package model

// PixelTable is the normalised value of each byte of each channel.
type PixelTable [3][256]float32

// PixelTable computes the table in float32 and in PyTorch's order of operations: (v/255 - mean) / std.
func (c Config) PixelTable() (t PixelTable) {
	for channel := range t {
		for v := range t[channel] {
			t[channel][v] = (float32(v)/255 - c.Mean[channel]) / c.Std[channel]
		}
	}
	return t
}
