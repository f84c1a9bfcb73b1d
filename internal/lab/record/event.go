package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Kinds of lines, the value of the key "kind".
const (
	kindManifest  = "manifest"
	kindSubject   = "subject"
	kindCell      = "cell"
	kindCellEnd   = "cell_end"
	kindRequests  = "requests"
	kindSample    = "sample"
	kindMeasure   = "measure"
	kindOperator  = "operator"
	kindModelFile = "model_file"
	kindNote      = "note"
	kindEnd       = "end"
)

// Requests is a block of requests of one cell, a line of the file.
type Requests struct {
	Cell int
	List []Request
}

// End is the last line of a file that was closed. A file without one was cut off.
type End struct {
	At int64 `json:"at"`
}

// Event is the content of one line: a Manifest, Subject, Cell, CellEnd, Requests, Sample, Measure,
// Operator, ModelFile, Note or End.
type Event any

// appendEvent adds e as one line, "kind" first.
func appendEvent(dst []byte, e Event) ([]byte, error) {
	if block, ok := e.(Requests); ok {
		return newColumnEncoder().append(dst, block.Cell, block.List), nil
	}
	kind, err := kindOf(e)
	if err != nil {
		return dst, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return dst, fmt.Errorf("record: %s: %w", kind, err)
	}
	dst = append(dst, `{"kind":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `",`...)
	return append(dst, b.Bytes()[1:]...), nil
}

func kindOf(e Event) (string, error) {
	switch e.(type) {
	case Manifest:
		return kindManifest, nil
	case Subject:
		return kindSubject, nil
	case Cell:
		return kindCell, nil
	case CellEnd:
		return kindCellEnd, nil
	case Sample:
		return kindSample, nil
	case Measure:
		return kindMeasure, nil
	case Operator:
		return kindOperator, nil
	case ModelFile:
		return kindModelFile, nil
	case Note:
		return kindNote, nil
	case End:
		return kindEnd, nil
	default:
		return "", fmt.Errorf("record: %T is no event", e)
	}
}

// errUnknownKind marks a line of a kind that a later program added; readers pass it over.
var errUnknownKind = errors.New("unknown kind")

// parseEvent reads one line.
func parseEvent(line []byte) (Event, error) {
	if bytes.HasPrefix(line, requestsHead) {
		return parseRequests(line)
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, err
	}
	switch head.Kind {
	case kindManifest:
		return parseManifest(line)
	case kindSubject:
		return parseAs[Subject](line)
	case kindCell:
		return parseAs[Cell](line)
	case kindCellEnd:
		return parseAs[CellEnd](line)
	case kindRequests:
		return parseRequests(line)
	case kindSample:
		return parseAs[Sample](line)
	case kindMeasure:
		return parseAs[Measure](line)
	case kindOperator:
		return parseAs[Operator](line)
	case kindModelFile:
		return parseAs[ModelFile](line)
	case kindNote:
		return parseAs[Note](line)
	case kindEnd:
		return parseAs[End](line)
	case "":
		return nil, errors.New(`no "kind": not a line of a record`)
	default:
		return nil, errUnknownKind
	}
}

func parseAs[T any](line []byte) (Event, error) {
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// parseManifest looks at the version before anything else: other keys may mean something else there.
func parseManifest(line []byte) (Event, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, err
	}
	switch {
	case v.Version < 1:
		return nil, errors.New("the manifest has no version")
	case v.Version > Version:
		return nil, fmt.Errorf("format version %d; this program reads up to %d: use a newer vitrine", v.Version, Version)
	}
	return parseAs[Manifest](line)
}
