package record

import (
	"cmp"
	"fmt"
	"slices"
)

// Data is what one or more record files say.
type Data struct {
	Runs  []*Run // in the order of the files
	Files []File
}

// File is one file that was read.
type File struct {
	Path   string
	Ending Ending
	Runs   []string // Manifest.Run of those it holds
}

// Run is one run, possibly from several files (a resumed run, several machines).
type Run struct {
	Manifest Manifest
	Subjects []Subject // one a name: the last that was said
	Cells    []*CellData
	Samples  []Sample // of no cell
	Notes    []Note
}

// CellData is a cell with all that refers to it.
type CellData struct {
	Cell
	End       *CellEnd  // nil: the run stopped within the cell
	Requests  []Request // by the time of sending; warm-up included
	Samples   []Sample
	Measures  []Measure
	Operators []Operator
	Models    []ModelFile
}

// Status is the end's, or Failed for a cell that never ended.
func (c *CellData) Status() string {
	if c.End == nil {
		return Failed
	}
	return c.End.Status
}

// Subject is the run's subject of that name.
func (r *Run) Subject(name string) (Subject, bool) {
	i := slices.IndexFunc(r.Subjects, func(s Subject) bool { return s.Name == name })
	if i < 0 {
		return Subject{}, false
	}
	return r.Subjects[i], true
}

// Limits of what is held in memory.
type Limits struct {
	Requests int // most that are kept, over all files; 0 is DefaultRequests, -1 keeps none
}

// DefaultRequests take 4.5 GB.
const DefaultRequests = 1 << 25

// Load reads whole files and merges them by run: lines about a cell stay with the cell of their file, a
// cell that two files share is taken once. Files of other tools that Import knows are read too.
func Load(paths ...string) (*Data, error) { return LoadWithin(Limits{}, paths...) }

// LoadWithin is Load with limits of one's own.
func LoadWithin(limits Limits, paths ...string) (*Data, error) {
	l := newLoader(limits)
	for _, path := range paths {
		if err := l.file(path); err != nil {
			return nil, err
		}
	}
	return l.finish(), nil
}

// loader gathers events into Data.
type loader struct {
	data   Data
	limits Limits
	kept   int
	run    *Run
	cells  map[int]*CellData            // of the run at hand, by the file's IDs
	byRun  map[string]map[int]*CellData // of the file at hand
}

func newLoader(limits Limits) *loader {
	if limits.Requests == 0 {
		limits.Requests = DefaultRequests
	}
	return &loader{limits: limits}
}

func (l *loader) file(path string) error {
	if importable(path) {
		return l.foreign(path)
	}
	r, err := Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	return l.read(path, r)
}

// foreign reads another tool's file.
func (l *loader) foreign(path string) error {
	events, err := Import(path)
	if err != nil {
		return err
	}
	l.open(path)
	for _, e := range events {
		if err := l.add(e); err != nil {
			return fmt.Errorf("import: %s: %w", path, err)
		}
	}
	l.data.Files[len(l.data.Files)-1].Ending = Ending{Clean: true}
	return nil
}

// open begins a file.
func (l *loader) open(path string) {
	l.data.Files = append(l.data.Files, File{Path: path})
	l.byRun = map[string]map[int]*CellData{}
}

func (l *loader) read(path string, r *Reader) error {
	l.open(path)
	for e, err := range r.Events() {
		if err != nil {
			return err
		}
		if err := l.add(e); err != nil {
			return r.errorf("%w", err)
		}
	}
	l.data.Files[len(l.data.Files)-1].Ending = r.Ending()
	return nil
}

func (l *loader) add(e Event) error {
	switch e := e.(type) {
	case Manifest:
		l.begin(e)
	case Subject:
		l.subject(e)
	case Cell:
		return l.cell(e)
	case Note:
		l.run.Notes = append(l.run.Notes, e)
	case End:
	case Sample:
		return l.sample(e)
	case Requests:
		return l.requests(e)
	default:
		return l.addToCell(e)
	}
	return nil
}

// begin starts a run or goes on with it: a resumed file repeats its manifest.
func (l *loader) begin(m Manifest) {
	file := &l.data.Files[len(l.data.Files)-1]
	if !slices.Contains(file.Runs, m.Run) {
		file.Runs = append(file.Runs, m.Run)
		l.byRun[m.Run] = map[int]*CellData{}
	}
	l.cells = l.byRun[m.Run]
	i := slices.IndexFunc(l.data.Runs, func(r *Run) bool { return r.Manifest.Run == m.Run })
	if i < 0 {
		l.data.Runs = append(l.data.Runs, &Run{Manifest: m})
		i = len(l.data.Runs) - 1
	}
	l.run = l.data.Runs[i]
}

func (l *loader) subject(s Subject) {
	i := slices.IndexFunc(l.run.Subjects, func(old Subject) bool { return old.Name == s.Name })
	if i < 0 {
		l.run.Subjects = append(l.run.Subjects, s)
		return
	}
	l.run.Subjects[i] = s
}

// cell takes a cell; one that an earlier file had already is read into the void.
func (l *loader) cell(c Cell) error {
	if _, twice := l.cells[c.ID]; twice {
		return fmt.Errorf("cell %d was there before", c.ID)
	}
	data := &CellData{Cell: c}
	l.cells[c.ID] = data
	same := func(old *CellData) bool { return old.ID == c.ID && old.Key == c.Key && old.At == c.At }
	if !slices.ContainsFunc(l.run.Cells, same) {
		l.run.Cells = append(l.run.Cells, data)
	}
	return nil
}

func (l *loader) sample(s Sample) error {
	if s.Cell == 0 && l.cells[0] == nil {
		l.run.Samples = append(l.run.Samples, s)
		return nil
	}
	c, err := l.cellOf(s.Cell)
	if err == nil {
		c.Samples = append(c.Samples, s)
	}
	return err
}

func (l *loader) requests(b Requests) error {
	c, err := l.cellOf(b.Cell)
	if err != nil || l.limits.Requests < 0 {
		return err
	}
	if l.kept += len(b.List); l.kept > l.limits.Requests {
		return fmt.Errorf("more than %d requests: load fewer files at once", l.limits.Requests)
	}
	c.Requests = append(c.Requests, b.List...)
	return nil
}

func (l *loader) addToCell(e Event) error {
	c, err := l.cellOf(cellID(e))
	if err != nil {
		return err
	}
	switch e := e.(type) {
	case CellEnd:
		c.End = &e
	case Measure:
		c.Measures = append(c.Measures, e)
	case Operator:
		c.Operators = append(c.Operators, e)
	case ModelFile:
		c.Models = append(c.Models, e)
	}
	return nil
}

func cellID(e Event) int {
	switch e := e.(type) {
	case CellEnd:
		return e.Cell
	case Measure:
		return e.Cell
	case Operator:
		return e.Cell
	case ModelFile:
		return e.Cell
	default:
		panic(fmt.Sprintf("record: %T belongs to no cell", e))
	}
}

func (l *loader) cellOf(id int) (*CellData, error) {
	c, ok := l.cells[id]
	if !ok {
		return nil, fmt.Errorf("cell %d is not known", id)
	}
	return c, nil
}

func (l *loader) finish() *Data {
	for _, r := range l.data.Runs {
		for _, c := range r.Cells {
			slices.SortStableFunc(c.Requests, func(a, b Request) int { return cmp.Compare(a.Sent, b.Sent) })
		}
	}
	return &l.data
}
