package embedapi

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// part is one part of a form; data is a view into the body.
type part struct {
	name string
	data []byte
}

// maxPartHeader bounds the header of one part, in bytes.
const maxPartHeader = 8 << 10

// errForm is FastAPI's answer to a form that cannot be read.
func errForm(why string) error {
	return fault.New(fault.Invalid, "There was an error parsing the body: %s", why)
}

// splitForm calls each for every part of a multipart/form-data body (RFC 7578, RFC 2046 section
// 5.1.1), in place: the standard library's reader would copy every file once more.
func splitForm(body []byte, boundary string, each func(part) error) error {
	delimiter := []byte("\r\n--" + boundary)
	_, rest, last, ok := next(body, delimiter)
	for {
		if !ok {
			return errForm("the multipart body is cut off or has another boundary")
		}
		if last {
			return nil
		}
		header, err := partHeader(&rest)
		if err != nil {
			return err
		}
		var data []byte
		if data, rest, last, ok = next(rest, delimiter); !ok {
			continue
		}
		name, err := partName(header)
		if err != nil {
			return err
		}
		if err := each(part{name, data}); err != nil {
			return err
		}
	}
}

// next returns what comes before the next delimiter, and what comes after its line. The delimiter's
// first line break may be missing at the very start: of the body, or of a part that is empty.
func next(b, delimiter []byte) (data, rest []byte, last, ok bool) {
	if bytes.HasPrefix(b, delimiter[2:]) {
		if rest, last, ok = delimiterEnd(b[len(delimiter)-2:]); ok {
			return b[:0], rest, last, true
		}
	}
	for from := 0; ; {
		i := bytes.Index(b[from:], delimiter)
		if i < 0 {
			return nil, nil, false, false
		}
		i += from
		if rest, last, ok = delimiterEnd(b[i+len(delimiter):]); ok {
			return b[:i], rest, last, true
		}
		from = i + 2
	}
}

// delimiterEnd reads what makes a boundary a delimiter: blanks and a line break, or the two dashes of
// the last one.
func delimiterEnd(b []byte) (rest []byte, last, ok bool) {
	if bytes.HasPrefix(b, []byte("--")) {
		tail := bytes.TrimLeft(b[2:], " \t")
		if len(tail) == 0 || bytes.HasPrefix(tail, []byte("\r\n")) {
			return nil, true, true
		}
		return nil, false, false
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(b, " \t"), []byte("\r\n"))
	return rest, false, ok
}

// partHeader reads a part's header and steps rest over it and its blank line.
func partHeader(rest *[]byte) (textproto.MIMEHeader, error) {
	if bytes.HasPrefix(*rest, []byte("\r\n")) {
		*rest = (*rest)[2:]
		return nil, nil
	}
	end := bytes.Index((*rest)[:min(len(*rest), maxPartHeader)], []byte("\r\n\r\n"))
	if end < 0 {
		return nil, errForm("a part's header does not end")
	}
	end += 4
	if bareLineFeed((*rest)[:end]) {
		return nil, errForm("a part's header has a line that does not end in CRLF")
	}
	lines := bufio.NewReaderSize(bytes.NewReader((*rest)[:end]), 256)
	header, err := textproto.NewReader(lines).ReadMIMEHeader()
	if err != nil {
		return nil, errForm("a part's header is malformed")
	}
	*rest = (*rest)[end:]
	return header, nil
}

// bareLineFeed finds what net/textproto would take for a line's end, and so for the header's.
func bareLineFeed(header []byte) bool {
	return bytes.Count(header, []byte("\n")) != bytes.Count(header, []byte("\r\n"))
}

func partName(header textproto.MIMEHeader) (string, error) {
	switch strings.ToLower(header.Get("Content-Transfer-Encoding")) {
	case "", "binary", "8bit", "7bit":
	default:
		return "", errForm("a part has a Content-Transfer-Encoding; send files as they are")
	}
	disposition, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
	if err != nil || disposition != "form-data" || params["name"] == "" {
		return "", errForm(`a part has no Content-Disposition: form-data; name="..."`)
	}
	return params["name"], nil
}
