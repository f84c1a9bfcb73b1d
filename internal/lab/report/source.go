package report

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// Options of a report.
type Options struct {
	Title     string       // in place of the records' own
	Reference *record.Data // the record to beat: its best figures get a column; nil for none
}

// Build writes the report of records.
func Build(d *record.Data, o Options) *page.Document {
	return build(o.Title, runsOf(d), runsOf(o.Reference))
}

// runsOf puts records in the shape in which tables are made.
func runsOf(d *record.Data) (runs []*run) {
	if d == nil {
		return nil
	}
	for _, from := range d.Runs {
		r := &run{manifest: from.Manifest, subjects: map[string]record.Subject{}, notes: from.Notes}
		for _, s := range from.Subjects {
			r.subjects[s.Name] = s
		}
		for _, c := range from.Cells {
			r.cells = append(r.cells, &cell{
				Cell: c.Cell, run: r, end: c.End, requests: c.Requests, samples: c.Samples,
				measures: c.Measures, operators: c.Operators, models: c.Models,
			})
		}
		for _, f := range d.Files {
			if slices.Contains(f.Runs, from.Manifest.Run) {
				r.files = append(r.files, fileOf(f))
			}
		}
		runs = append(runs, r)
	}
	return runs
}

// fileOf has the size and the hash of a file as it is now; one that cannot be read again, as standard
// input, has neither.
func fileOf(f record.File) File {
	out := File{Name: base(f.Path), Ended: f.Ending.String()}
	in, err := os.Open(f.Path)
	if err != nil {
		return out
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil {
		return out
	}
	out.Bytes, out.SHA256 = n, hex.EncodeToString(h.Sum(nil))
	return out
}
