package page

import (
	"encoding/json"
	"io"
)

// JSON writes the document with every figure unrounded.
func (d *Document) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(d)
}
