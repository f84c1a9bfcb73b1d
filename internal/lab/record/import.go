package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxImport bounds a file of another tool, which is read whole.
const maxImport = 1 << 30

// Import reads results of other tools as a record: perf_analyzer's CSV (-f) and JSON
// (--profile-export-file), and the plain JSON of docs/records.md. The name's ending, .csv or .json, says
// which. The run's number is made from the content, so that the same file is the same run.
func Import(path string) ([]Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxImport+1))
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if len(text) > maxImport {
		return nil, fmt.Errorf("import: %s: larger than %d MB", path, maxImport>>20)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	events, err := importText(text, filepath.Base(path), info.ModTime())
	if err != nil {
		return nil, fmt.Errorf("import: %s: %w", path, err)
	}
	return events, nil
}

// importable tells whether a name is that of another tool's file.
func importable(path string) bool {
	return strings.HasSuffix(path, ".csv") || strings.HasSuffix(path, ".json")
}

// importText reads content; changed stands for the time of a run that does not say its own.
func importText(text []byte, name string, changed time.Time) ([]Event, error) {
	sum := sha256.Sum256(text)
	im := &importer{manifest: Manifest{
		Version: Version, Run: hex.EncodeToString(sum[:8]), Started: changed.UTC(),
		Command: []string{"import", name}, Title: "Imported from " + name,
	}}
	var err error
	switch {
	case strings.HasSuffix(name, ".csv"):
		err = im.perfCSV(text)
	case isPerfJSON(text):
		err = im.perfJSON(text)
	default:
		err = im.plain(text)
	}
	if err != nil {
		return nil, err
	}
	return append([]Event{im.manifest}, im.events...), nil
}

func isPerfJSON(text []byte) bool { return bytes.Contains(text, []byte(`"experiments"`)) }

// importer gathers what a file says. Cells are numbered from 1.
type importer struct {
	manifest Manifest
	subjects []string
	events   []Event
	cells    int
}

// subject is added once a name.
func (im *importer) subject(s Subject) {
	for _, name := range im.subjects {
		if name == s.Name {
			return
		}
	}
	im.subjects = append(im.subjects, s.Name)
	im.events = append(im.events, s)
}

func (im *importer) note(text string) { im.events = append(im.events, Note{Text: text}) }

// cell adds a cell with what belongs to it; their numbers are set here.
func (im *importer) cell(c Cell, content imported) {
	im.cells++
	c.ID = im.cells
	c.Key = fmt.Sprintf("import/%s/%s/%s/%+v", c.Step, c.Subject, c.Scenario, c.Params)
	im.events = append(im.events, c)
	if len(content.requests) > 0 {
		for list := content.requests; len(list) > 0; {
			n := min(len(list), lineRequests)
			im.events = append(im.events, Requests{Cell: c.ID, List: list[:n]})
			list = list[n:]
		}
	}
	for _, m := range content.measures {
		m.Cell = c.ID
		im.events = append(im.events, m)
	}
	end := content.end
	end.Cell = c.ID
	if end.Status == "" {
		end.Status = OK
	}
	im.events = append(im.events, end)
}

// imported is the content of a cell.
type imported struct {
	requests []Request
	measures []Measure
	end      CellEnd
}

func (c *imported) measure(name, unit string, values ...float64) {
	c.measures = append(c.measures, Measure{Name: name, Unit: unit, Values: values})
}
