package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// observed are results with device samples: idle first, then the load that each subject takes best.
func (g *group) observed() (all []*result) {
	add := func(r *result) {
		if r != nil && r.ok() && len(r.sampled()) > 0 && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	for _, r := range pick(g.results, scenario(record.Idle)) {
		add(r)
	}
	for _, s := range g.subjects {
		mine := pick(g.results, subject(s), (*result).ok, func(r *result) bool { return len(r.sampled()) > 0 })
		add(peak(pick(mine, scenario(record.Concurrency, record.Batch, record.Soak))))
	}
	if len(all) == 0 {
		for _, r := range pick(g.results, scenario(record.Single)) {
			add(r)
		}
	}
	return all
}

func devices(g *group) []page.Part {
	t := &page.Table{Columns: columns("Resource")}
	rows := [][]page.Value{{page.Words("Total VRAM used")}, {page.Words("GPU utilization")}, {page.Words("GPU power")}, {page.Words("Power limit")}}
	for _, r := range g.observed() {
		t.Columns = append(t.Columns, page.Column{Title: r.subject.Name + ": " + describe(r)})
		d := r.sampled()
		for i, f := range []figure.Figure{
			sumOf(d, func(d device) figure.Figure { return d.used }), averageUtilization(d),
			sumOf(d, func(d device) figure.Figure { return d.power }), r.powerLimit(),
		} {
			rows[i] = append(rows[i], page.Number(f))
		}
	}
	if len(t.Columns) == 1 {
		return nil
	}
	t.Rows = rows
	t.Note("Means over the samples of a cell; over several cards memory and power are summed and utilisation is averaged. The memory of all processes on a card counts.")
	return one("memory", t)
}

// powerLimit is what was sampled, else what the manifest says of the cards.
func (r *result) powerLimit() figure.Figure {
	if f := sumOf(r.sampled(), func(d device) figure.Figure { return d.most }); f.Known() {
		return f
	}
	watts := 0.0
	if h := r.subject.Server.Host; h != nil {
		for _, gpu := range h.GPUs {
			watts += gpu.PowerLimit
		}
	}
	if watts == 0 {
		return figure.Figure{}
	}
	return figure.Point(figure.Watts, watts, 0)
}

func perCard(g *group) []page.Part {
	var r *result
	for _, o := range g.observed() {
		if len(o.sampled()) > 1 && (r == nil || len(o.sampled()) > len(r.sampled())) {
			r = o
		}
	}
	if r == nil {
		return nil
	}
	t := &page.Table{Columns: columns("GPU", "VRAM Used", "VRAM Total", "Utilization", "Power")}
	for i, d := range r.sampled() {
		t.Rows = append(t.Rows, []page.Value{page.Words("GPU " + strconv.Itoa(i)), page.Number(d.used), page.Number(d.total), page.Number(d.utilization), page.Number(d.power)})
	}
	all := r.sampled()
	t.Rows = append(t.Rows, []page.Value{
		page.Words("Total"), page.Number(sumOf(all, func(d device) figure.Figure { return d.used })), page.Number(sumOf(all, func(d device) figure.Figure { return d.total })),
		page.Words("—"), page.Number(sumOf(all, func(d device) figure.Figure { return d.power })),
	})
	t.Note("During " + r.subject.Name + ", " + describe(r) + ".")
	return one("gpu-memory", t)
}

func energy(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<Workload", "Throughput", "Power", "Energy per 1,000 images")}
	knows := func(r *result) bool { return r.energyPerThousand().Known() }
	for _, r := range g.peaks(knows) {
		f := r.energyPerThousand()
		t.Rows = append(t.Rows, []page.Value{
			page.Words(r.subject.Name), page.Words(describe(r)), page.Number(r.throughput()), page.Number(sumOf(r.sampled(), func(d device) figure.Figure { return d.power })), page.Number(f),
		})
	}
	if len(t.Rows) > 0 {
		t.Note("Rise of the cards' energy counters over the images answered, idle power included; the host's energy is not.")
	}
	return one("energy", t)
}

func processes(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<Workload", "Resident memory", "Processor time per 1,000 images")}
	for _, s := range g.subjects {
		r := peak(pick(g.results, subject(s), (*result).ok, scenario(record.Concurrency, record.Batch, record.Single), func(r *result) bool { return r.process() != process{} }))
		if r == nil {
			continue
		}
		p := r.process()
		t.Rows = append(t.Rows, []page.Value{page.Words(s), page.Words(describe(r)), page.Number(p.resident), page.Number(p.cpu)})
	}
	if len(t.Rows) > 0 {
		t.Note("The server process's own metrics; a server of several processes shows one of them.")
	}
	return one("process", t)
}

// peaks are each subject's single image, and its best batch and concurrency, of the results that keep a
// condition.
func (g *group) peaks(condition func(*result) bool) (all []*result) {
	for _, s := range g.subjects {
		for _, name := range []string{record.Single, record.Batch, record.Concurrency, record.Soak} {
			if r := peak(pick(g.results, scenario(name), subject(s), (*result).ok, condition)); r != nil {
				all = append(all, r)
			}
		}
	}
	return all
}

// scaling compares the best throughput of each number of instances with that of one, and prices it.
func scaling(g *group) []page.Part {
	rows := g.scalingRows()
	if !slices.ContainsFunc(rows, func(s scaled) bool { return s.instances > 1 }) {
		return nil
	}
	t := &page.Table{Columns: columns("Config", "Throughput", "Scaling Factor", "Efficiency", "Cost/hr", "Cost per 1K imgs")}
	var used []*result
	for _, s := range rows {
		used = append(used, s.best)
		row := []page.Value{page.Words(s.name), images.value(t, s.best), page.Number(s.factor), page.Words("—"), price(s.price), page.Number(s.cost)}
		switch {
		case s.base == s.best:
			row[3] = page.Words("baseline")
		case s.efficiency.Known():
			row[3] = page.Number(s.efficiency)
		}
		t.Rows = append(t.Rows, row)
	}
	mixed(t, used)
	t.Note("Each row is the configuration's best throughput: " + bestAt(rows) + ".")
	return one("scaling", t)
}

// price with its cents.
func price(f figure.Figure) page.Value {
	v := page.Number(f)
	if f.Known() {
		v.Text = fmt.Sprintf("$%.2f", f.Value)
	}
	return v
}

func bestAt(rows []scaled) (text string) {
	for _, s := range rows {
		if text != "" {
			text += "; "
		}
		text += s.name + " at " + describe(s.best)
	}
	return text
}

// scaled is one row of the scaling table.
type scaled struct {
	name       string
	instances  int
	best, base *result
	factor     figure.Figure
	efficiency figure.Figure // percent
	price      figure.Figure // dollars an hour
	cost       figure.Figure // dollars for 1,000 images
}

// scalingRows are one configuration each: subject, card and number of instances. Rows of other cards are
// added for scale, as the reference does.
func (g *group) scalingRows() (rows []scaled) {
	var base *result
	for _, c := range g.configurations() {
		best := peak(c)
		n := instances(best)
		if !best.ok() {
			continue
		}
		if base == nil && n == 1 {
			base = best
		}
		rows = append(rows, scaled{name: configName(best, n), instances: n, best: best})
	}
	for i := range rows {
		s := &rows[i]
		s.price, s.cost = cost(s.best)
		if base == nil {
			continue
		}
		s.base = base
		s.factor = figure.Ratio(s.best.throughput(), base.throughput(), figure.Times)
		if s.best.subject.Name == base.subject.Name || sameBackend(s.best, base) && cardName(s.best.card) == cardName(base.card) {
			s.efficiency = s.factor.Scale(100/float64(s.instances), figure.Percent)
		}
	}
	return rows
}

// configurations of this group's subjects by number of instances; then the best of the single cards of
// other groups.
func (g *group) configurations() [][]*result {
	throughput := []func(*result) bool{scenario(record.Concurrency, record.Batch), func(r *result) bool { return r.params.Link == "" && !r.params.NewConnection }}
	mine := pick(g.results, throughput...)
	all := split(mine, func(r *result) string { return fmt.Sprint(r.subject.Name, instances(r)) })
	if !slices.ContainsFunc(all, func(c []*result) bool { return instances(c[0]) > 1 }) {
		return nil
	}
	for _, card := range split(pick(g.book.results, append(throughput, func(r *result) bool { return r.card != g.card })...), func(r *result) string { return r.card }) {
		if best := peak(card); best.ok() {
			all = append(all, []*result{best})
		}
	}
	slices.SortStableFunc(all, func(a, b []*result) int {
		own := func(c []*result) int {
			if cardName(c[0].card) == cardName(g.card) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(own(a), own(b)), cmp.Compare(instances(a[0]), instances(b[0])))
	})
	return all
}

// instances is the number of cards or instances that the result used.
func instances(r *result) int {
	if r.params.Instances > 0 {
		return r.params.Instances
	}
	if n, _, ok := cutCount(r.card); ok {
		return n
	}
	return 1
}

// cutCount reads "4× RTX 4080".
func cutCount(card string) (int, string, bool) {
	var n int
	var rest string
	if k, _ := fmt.Sscanf(card, "%d× ", &n); k == 1 && n > 0 {
		rest = card[len(strconv.Itoa(n))+len("× "):]
		return n, rest, true
	}
	return 1, card, false
}

func cardName(card string) string {
	_, name, _ := cutCount(card)
	return name
}

func configName(r *result, n int) string {
	return fmt.Sprintf("%d× %s, %s", n, cardName(r.card), r.subject.Name)
}

// cost is the price label in dollars an hour and what 1,000 images cost at the result's throughput:
// price / 3,600 / throughput * 1,000. Of a priced machine of several cards (label gpus) a result that used
// fewer pays its share.
func cost(r *result) (price, perThousand figure.Figure) {
	value, err := strconv.ParseFloat(r.subject.Labels["price"], 64)
	if err != nil || value <= 0 {
		return figure.Figure{}, figure.Figure{}
	}
	if n, err := strconv.Atoi(r.subject.Labels["gpus"]); err == nil && r.params.Instances > 0 && r.params.Instances < n {
		value *= float64(r.params.Instances) / float64(n)
	}
	price = figure.Point(figure.Dollars, value, 0)
	return price, r.throughput().Inverse(1000*value/3600, figure.Dollars)
}
