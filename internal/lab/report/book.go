package report

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// book is everything that was read, in the order in which tables want it.
type book struct {
	runs    []*run
	results []*result // in order of first appearance
	groups  []*group
}

// run is one run's records.
type run struct {
	manifest record.Manifest
	subjects map[string]record.Subject
	cells    []*cell
	notes    []record.Note
	files    []File
	steps    map[string]string // titles, once read
}

// cell is one cell with all that was seen during it.
type cell struct {
	record.Cell
	run       *run
	end       *record.CellEnd // nil: the run was killed during the cell
	requests  []record.Request
	samples   []record.Sample
	measures  []record.Measure
	operators []record.Operator
	models    []record.ModelFile
}

// group is what a section shows: one step on one card.
type group struct {
	step, card string
	subjects   []string
	results    []*result
	book       *book
	reference  *book // the record to beat; nil if none was given
}

func newBook(runs []*run) *book {
	b := &book{runs: runs}
	index := map[string]*result{}
	for _, r := range runs {
		for _, c := range r.cells {
			b.add(index, r, c)
		}
	}
	b.group()
	return b
}

// add puts a cell into the result of its settings: rounds and resumed runs of the same settings, on the
// same card, are one result.
func (b *book) add(index map[string]*result, r *run, c *cell) {
	sub, ok := r.subjects[c.Subject]
	if !ok {
		sub = record.Subject{Name: c.Subject}
	}
	card := cardOf(sub, r.manifest.Client)
	if c.Scenario == record.Serialization {
		card = r.cardOfStep(c.Step, card)
	}
	key := strings.Join([]string{card, c.Step, c.Subject, c.Scenario, settings(c.Params)}, "\x00")
	res := index[key]
	if res == nil {
		res = &result{run: r, subject: sub, card: card, step: c.Step, scenario: c.Scenario, params: c.Params}
		index[key] = res
		b.results = append(b.results, res)
	}
	res.cells = append(res.cells, c)
}

// cardOfStep is the card of the step's first other cell: encoding belongs to the step, on whatever
// processor it ran.
func (r *run) cardOfStep(step, otherwise string) string {
	for _, c := range r.cells {
		if c.Step == step && c.Scenario != record.Serialization {
			return cardOf(r.subjects[c.Subject], r.manifest.Client)
		}
	}
	return otherwise
}

// settings tells cells apart. How long and how often was measured does not change what was measured.
func settings(p record.Params) string {
	p.Duration, p.Requests, p.Warmup, p.Timeout = 0, 0, 0, 0
	return fmt.Sprintf("%+v", p)
}

func (b *book) group() {
	for _, r := range b.results {
		if r.scenario == record.Profile || r.scenario == record.Session || r.scenario == record.Compute {
			continue // sections of their own
		}
		g := b.groupOf(r.step, r.card)
		if !slices.Contains(g.subjects, r.subject.Name) {
			g.subjects = append(g.subjects, r.subject.Name)
		}
		g.results = append(g.results, r)
	}
	slices.SortStableFunc(b.groups, func(x, y *group) int { return cmp.Compare(b.stepRank(x.step), b.stepRank(y.step)) })
	for _, g := range b.groups {
		slices.SortStableFunc(g.subjects, func(x, y string) int { return cmp.Compare(b.subjectRank(x), b.subjectRank(y)) })
	}
}

func (b *book) groupOf(step, card string) *group {
	for _, g := range b.groups {
		if g.step == step && g.card == card {
			return g
		}
	}
	g := &group{step: step, card: card, book: b}
	b.groups = append(b.groups, g)
	return g
}

// stepRank orders steps as they were first seen.
func (b *book) stepRank(step string) int {
	return slices.IndexFunc(b.results, func(r *result) bool { return r.step == step })
}

// subjectRank orders subjects as they were first seen in any step, so that all tables have the same order, whatever turns
// a step's rounds took.
func (b *book) subjectRank(name string) int {
	return slices.IndexFunc(b.results, func(r *result) bool { return r.subject.Name == name })
}

// cardOf names what computes: "A100 SXM4", "4× RTX 4080", or the processor where there is no card. The
// labels gpu, gpus and machine go before what the server says of its host; a server of this machine that
// says nothing has the client's.
func cardOf(s record.Subject, client record.Host) string {
	name := s.Labels["gpu"]
	host := s.Server.Host
	if host == nil || local(s.URL) {
		host = &client
	}
	if name == "" && len(host.GPUs) > 0 && !onProcessor(s) {
		name = host.GPUs[0].Name
	}
	count, err := strconv.Atoi(s.Labels["gpus"])
	switch {
	case name != "" && err == nil && count > 1 && !strings.Contains(name, "×"):
		return fmt.Sprintf("%d× %s", count, name)
	case name != "":
		return name
	case s.Labels["machine"] != "":
		return s.Labels["machine"]
	default:
		return processor(*host)
	}
}

// local tells whether a URL is of the client's own machine; an engine in process has none.
func local(address string) bool {
	u, err := url.Parse(address)
	if address == "" || err != nil {
		return address == ""
	}
	host := cmp.Or(u.Hostname(), u.Scheme) // "127.0.0.1:8001" has no scheme
	ip := net.ParseIP(strings.Split(host, ":")[0])
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() || u.Hostname() == "::1"
}

// onProcessor tells that a subject computes without a card, by its backend or engine.
func onProcessor(s record.Subject) bool {
	name := strings.ToLower(s.Labels["backend"] + " " + s.Server.Engine)
	return strings.Contains(name, "cpu") || strings.Contains(name, "null")
}

// unknownProcessor is the card of imported figures that name none.
const unknownProcessor = "unknown processor"

func processor(h record.Host) string {
	if h.CPU == "" {
		return unknownProcessor
	}
	name := strings.NewReplacer("(R)", "", "(TM)", "", " Processor", "", " CPU", "").Replace(h.CPU)
	if h.Cores > 0 {
		return fmt.Sprintf("%s, %s", strings.TrimSpace(name), plural(h.Cores, "core"))
	}
	return strings.TrimSpace(name)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// pick gives the results of a group that keep the conditions.
func pick(results []*result, conditions ...func(*result) bool) (found []*result) {
	for _, r := range results {
		if !slices.ContainsFunc(conditions, func(c func(*result) bool) bool { return !c(r) }) {
			found = append(found, r)
		}
	}
	return found
}

func scenario(names ...string) func(*result) bool {
	return func(r *result) bool { return slices.Contains(names, r.scenario) }
}

func subject(name string) func(*result) bool {
	return func(r *result) bool { return r.subject.Name == name }
}

func batch(n int) func(*result) bool {
	return func(r *result) bool { return r.images() == n }
}

// first of the results that keep the conditions; nil if there is none.
func (g *group) first(conditions ...func(*result) bool) *result {
	found := pick(g.results, conditions...)
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// sorted distinct values of a key over results.
func distinct[T cmp.Ordered](results []*result, key func(*result) T) []T {
	seen := map[T]bool{}
	var out []T
	for _, r := range results {
		if k := key(r); !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
