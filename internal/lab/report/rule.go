package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// rule draws findings from a group or from the whole book. It concludes from intervals and from counts
// alone: a figure without an interval supports nothing. docs/figures.md lists every rule by its name.
type rule[T any] struct {
	name  string
	apply func(T) []conclusion
}

// conclusion is a finding without its rule's name.
type conclusion struct {
	text     string
	evidence []figure.Figure
}

func apply[T any](rules []rule[T], x T) (all []page.Finding) {
	for _, r := range rules {
		for _, c := range r.apply(x) {
			all = append(all, page.Finding{Rule: r.name, Text: c.text, Evidence: c.evidence})
		}
	}
	return all
}

// Thresholds of the rules.
const (
	muchShare       = 50.0 // percent of a client's latency: dominates
	queueShare      = 30.0 // percent of a server's time
	poorEfficiency  = 70.0 // percent: scaling
	tailRatio       = 3.0  // p99 by p50
	roundsRatio     = 1.2  // between medians of rounds
	idleShare       = 30.0 // percent of the power under load
	batchGain       = 1.1  // throughput of the largest batch by one image's
	lateHarness     = 0.1  // of the median latency
	hiddenWait      = 1.5  // p99 from due by p99 from sending
	slowEncoding    = 2.0  // slowest format by fastest
	fewRequestsFrom = 8    // concurrency from which batches should form
)

var groupRules = []rule[*group]{
	{"serialization-slow", serializationSlow},
	{"serialization-dominates", serializationDominates},
	{"protocol-change", protocolChanged},
	{"single-image-winner", singleWinner},
	{"compute-is-not-latency", computeIsNotLatency},
	{"network-dominates", networkDominates},
	{"batching-pays", batchingPays},
	{"saturation", saturation},
	{"queue-share-high", queueShareHigh},
	{"batches-too-small", batchesTooSmall},
	{"scaling-poor", scalingPoor},
	{"tail-anomaly", tailAnomaly},
	{"rounds-disagree", roundsDisagree},
	{"hidden-wait", hiddenWaits},
	{"cells-not-answered", notAnswered},
	{"client-was-bottleneck", clientBottleneck},
	{"energy-idle", energyIdle},
	{"record-beaten", recordBeaten},
}

var bookRules = []rule[*book]{
	{"winner-changes-with-card", winnerChanges},
	{"payload-and-network", payloadAndNetwork},
	{"cheapest", cheapest},
}

func say(evidence []figure.Figure, format string, args ...any) conclusion {
	return conclusion{text: fmt.Sprintf(format, args...), evidence: evidence}
}

func figures(f ...figure.Figure) []figure.Figure { return f }

// serializationSlow: at the largest batch the slowest format takes slowEncoding times the fastest's time.
func serializationSlow(g *group) (out []conclusion) {
	for _, own := range split(pick(g.results, scenario(record.Serialization), (*result).ok), func(r *result) string { return r.params.Encoder }) {
		sizes := distinct(own, (*result).images)
		at := pick(own, batch(sizes[len(sizes)-1]), func(r *result) bool { return r.measured("encode").Known() })
		if len(at) < 2 {
			continue
		}
		slices.SortStableFunc(at, func(a, b *result) int { return cmp.Compare(a.measured("encode").Value, b.measured("encode").Value) })
		fast, slow := at[0], at[len(at)-1]
		if ratio := figure.Ratio(slow.measured("encode"), fast.measured("encode"), figure.Times); ratio.Above(slowEncoding) {
			out = append(out, say(figures(ratio, slow.measured("encode"), fast.measured("encode")), "Encoding %d images as %s takes %s (%s), as %s %s: %s longer.",
				slow.images(), formatName(slow.params.Format), slow.measured("encode").Text(), cmp.Or(encoders[slow.params.Encoder], slow.params.Encoder), formatName(fast.params.Format), fast.measured("encode").Text(), ratio.Text()))
		}
	}
	return out
}

// serializationDominates: encoding one image takes longer than its computation.
func serializationDominates(g *group) (out []conclusion) {
	var fastest *result
	for _, r := range pick(g.results, scenario(record.Single), ordinary, (*result).ok) {
		if c := r.server().compute; c.Known() && (fastest == nil || c.Value < fastest.server().compute.Value) {
			fastest = r
		}
	}
	if fastest == nil {
		return nil
	}
	for _, r := range pick(g.results, scenario(record.Serialization), batch(1), (*result).ok) {
		encode, run := r.measured("encode"), fastest.server().compute
		if ratio := figure.Ratio(encode, run, figure.Times); ratio.Above(1) {
			out = append(out, say(figures(ratio, encode, run), "Encoding one image as %s (%s) takes %s, %s the time in which %s computes it (%s): serialization, not inference, is the cost.",
				formatName(r.params.Format), cmp.Or(encoders[r.params.Encoder], r.params.Encoder), encode.Text(), ratio.Text(), fastest.subject.Name, run.Text()))
		}
	}
	return out
}

// protocolChanged: the interval of single p50 before by after excludes 1.
func protocolChanged(g *group) (out []conclusion) {
	for _, c := range g.changes() {
		was, is := c.old.first(scenario(record.Single), ordinary, subject(c.oldName)), g.first(scenario(record.Single), ordinary, subject(c.nowName))
		if was == nil || is == nil || !was.ok() || !is.ok() {
			continue
		}
		ratio := figure.Ratio(was.p50(), is.p50(), figure.Times)
		verb, speed := "fell", ratio.Text()+" faster"
		switch {
		case ratio.Below(1):
			verb, speed = "rose", ratio.Inverse(1, figure.Times).Text()+" slower"
		case !ratio.Above(1):
			continue
		}
		out = append(out, say(figures(ratio, was.p50(), is.p50()), "From %s to %s the single-image p50 of %s %s from %s to %s: %s.",
			formatName(c.oldFormat), formatName(c.nowForm), is.backend(), verb, was.p50().Text(), is.p50().Text(), speed))
	}
	return out
}

// clear gives the best of the results by a metric if it is apart from each other, and the next.
func clear(results []*result, m metric) (best, next *result) {
	known := pick(results, (*result).ok, func(r *result) bool { return m.of(r).Known() })
	if len(known) < 2 {
		return nil, nil
	}
	slices.SortStableFunc(known, func(a, b *result) int {
		order := cmp.Compare(m.of(a).Value, m.of(b).Value)
		if m.lower {
			return order
		}
		return -order
	})
	for _, r := range known[1:] {
		if !m.advantage(m.of(known[0]), m.of(r)).Above(1) {
			return nil, nil
		}
	}
	return known[0], known[1]
}

// singleWinner: one subject's p50 is apart from every other's.
func singleWinner(g *group) []conclusion {
	best, next := clear(pick(g.results, scenario(record.Single), ordinary), latency("", 0.5))
	if best == nil {
		return nil
	}
	ratio := figure.Ratio(next.p50(), best.p50(), figure.Times)
	return []conclusion{say(figures(ratio, best.p50(), next.p50()), "%s answers a single image fastest: p50 %s; next is %s with %s, %s as long.", best.subject.Name, best.p50().Text(), next.subject.Name, next.p50().Text(), ratio.String())}
}

// computeIsNotLatency: the subject that clearly computes fastest is not the one that clearly answers
// fastest.
func computeIsNotLatency(g *group) []conclusion {
	in := pick(g.results, scenario(record.Single), ordinary)
	quick, _ := clear(in, compute)
	first, _ := clear(in, latency("", 0.5))
	if quick == nil || first == nil || quick == first {
		return nil
	}
	return []conclusion{say(figures(quick.server().compute, quick.p50(), first.p50()), "%s computes fastest (%s) but %s answers first (p50 %s against %s): what lies between client and engine decides.",
		quick.subject.Name, quick.server().compute.Text(), first.subject.Name, first.p50().Text(), quick.p50().Text())}
}

// networkDominates: the share of network and transfer lies above muchShare; one finding a connection.
func networkDominates(g *group) (out []conclusion) {
	for _, same := range split(pick(g.results, scenario(record.Single), (*result).ok), func(r *result) string { return connection(r.params) }) {
		var texts []string
		var evidence []figure.Figure
		for _, r := range same {
			if share := figure.Share(r.network(), r.mean()); share.Above(muchShare) {
				texts = append(texts, fmt.Sprintf("%s of %s's %s", share.Text(), r.subject.Name, r.mean().Text()))
				evidence = append(evidence, share)
			}
		}
		if len(texts) > 0 {
			out = append(out, say(evidence, "Network and transfer (%s) are %s: the client's latency says little about the server.", connection(same[0].params), strings.Join(texts, ", ")))
		}
	}
	return out
}

// batchingPays: throughput of the largest batch by that of one image, when the interval says which.
func batchingPays(g *group) (out []conclusion) {
	for _, own := range split(pick(g.results, scenario(record.Batch), ordinary, (*result).ok), func(r *result) string { return r.subject.Name }) {
		slices.SortStableFunc(own, func(a, b *result) int { return cmp.Compare(a.images(), b.images()) })
		small, large := own[0], own[len(own)-1]
		ratio := figure.Ratio(large.throughput(), small.throughput(), figure.Times)
		switch {
		case large == small:
		case ratio.Above(batchGain):
			out = append(out, say(figures(ratio), "%s: batches of %d bring %s the throughput of batches of %d.", own[0].subject.Name, large.images(), ratio.String(), small.images()))
		case ratio.Below(batchGain):
			out = append(out, say(figures(ratio), "%s: batches of %d bring no more than %s the throughput of batches of %d; batching does not pay here.", own[0].subject.Name, large.images(), ratio.String(), small.images()))
		}
	}
	return out
}

// saturation: a higher concurrency than the peak's has a throughput that is clearly lower.
func saturation(g *group) (out []conclusion) {
	for _, c := range g.curves() {
		good := pick(c.results, (*result).ok)
		if len(good) < 3 {
			continue
		}
		best, last := peak(good), good[len(good)-1]
		if last == best {
			continue
		}
		ratio := figure.Ratio(last.throughput(), best.throughput(), figure.Times)
		if ratio.Below(1) {
			out = append(out, say(figures(ratio, best.throughput()), "%s peaks at %d concurrent clients with %s; at %d it gives %s and a p50 of %s.",
				c.name, best.params.Concurrency, best.throughput().Text(), last.params.Concurrency, last.throughput().Text(), last.p50().Text()))
		}
	}
	return out
}

// queueShareHigh: at the peak of a curve requests wait more than queueShare of the server's time.
func queueShareHigh(g *group) (out []conclusion) {
	for _, r := range g.loaded() {
		if share := figure.Share(r.server().queue, r.server().total); share.Above(queueShare) {
			out = append(out, say(figures(share, r.server().queue), "%s at %s: requests wait %s of the server's time in the queue (%s of %s).", r.subject.Name, describe(r), share.Text(), r.server().queue.Text(), r.server().total.Text()))
		}
	}
	return out
}

// batchesTooSmall: from fewRequestsFrom clients, the average batch is below half of what could be
// together, of single-image requests (16 at most: larger batches bring little).
func batchesTooSmall(g *group) (out []conclusion) {
	for _, r := range g.loaded() {
		size, could := r.averageBatch(), float64(min(r.params.Concurrency, 16))/float64(max(r.params.Instances, 1))
		if r.images() > 1 || r.params.Concurrency < fewRequestsFrom || !size.Known() || size.Value >= could/2 {
			continue
		}
		out = append(out, say(figures(size, r.batchEfficiency()), "%s at %s: %s images an execution on average, batch efficiency %s; %d requests in flight could have shared more.", r.subject.Name, describe(r), size.Text(), r.batchEfficiency().Text(), r.params.Concurrency))
	}
	return out
}

// scalingPoor: the efficiency of several instances lies below poorEfficiency.
func scalingPoor(g *group) (out []conclusion) {
	for _, s := range g.scalingRows() {
		if s.instances < 2 || !s.efficiency.Below(poorEfficiency) {
			continue
		}
		out = append(out, say(figures(s.efficiency, s.factor), "%s gives %s of one instance's throughput: an efficiency of %s.", s.name, s.factor.String(), s.efficiency.String()))
	}
	return out
}

// tailAnomaly: p99 by p50 lies above tailRatio for one client, who waits for nobody else.
func tailAnomaly(g *group) (out []conclusion) {
	for _, r := range pick(g.results, scenario(record.Single), (*result).ok) {
		if ratio := r.tail(); ratio.Above(tailRatio) {
			out = append(out, say(figures(ratio), "%s, %s: p99 is %s p50 (%s against %s) with a single client; something stalls.", r.subject.Name, describe(r), ratio.Text(), r.quantile(0.99).Text(), r.p50().Text()))
		}
	}
	return out
}

func (r *result) tail() figure.Figure {
	return figure.Ratio(r.quantile(0.99), r.p50(), figure.Times)
}

// spread is the ratio of the slowest round's median to the fastest's.
func (r *result) spread() figure.Figure {
	r.load()
	var low, high figure.Figure
	for _, round := range r.due {
		m := quantileOver(figure.Millis, [][]float64{round}, 0.5)
		if !m.Known() {
			continue
		}
		if !low.Known() || m.Value < low.Value {
			low = m
		}
		if !high.Known() || m.Value > high.Value {
			high = m
		}
	}
	return figure.Ratio(high, low, figure.Times)
}

// anomaly is what a table marks at a latency: a stalling tail or rounds that disagree.
func (r *result) anomaly() string {
	switch {
	case r.scenario == record.Single && r.tail().Above(tailRatio):
		return fmt.Sprintf("%s: anomalous tail, p99 is %s p50 (rule tail-anomaly).", r.subject.Name, r.tail().Text())
	case r.spread().Above(roundsRatio):
		return fmt.Sprintf("%s: the medians of its rounds differ by %s (rule rounds-disagree).", r.subject.Name, r.spread().Text())
	}
	return ""
}

// roundsDisagree: the medians of two rounds differ by more than roundsRatio.
func roundsDisagree(g *group) (out []conclusion) {
	for _, r := range pick(g.results, scenario(record.Single, record.Batch), (*result).ok) {
		if ratio := r.spread(); ratio.Above(roundsRatio) {
			out = append(out, say(figures(ratio), "%s, %s: the medians of its %d rounds differ by %s; the machine was not at rest or the server changed.", r.subject.Name, describe(r), len(r.due), ratio.String()))
		}
	}
	return out
}

// hiddenWaits: p99 from the due instant by p99 from sending lies above hiddenWait.
func hiddenWaits(g *group) (out []conclusion) {
	for _, r := range pick(g.results, scenario(record.OpenLoop), (*result).ok) {
		if ratio := figure.Ratio(r.quantile(0.99), r.quantileSent(0.99), figure.Times); ratio.Above(hiddenWait) {
			out = append(out, say(figures(ratio), "%s, %s: p99 is %s from the due instant and %s from sending; a closed-loop tool would hide the difference.", r.subject.Name, describe(r), r.quantile(0.99).Text(), r.quantileSent(0.99).Text()))
		}
	}
	return out
}

// notAnswered: no round of a setting was ok.
func notAnswered(g *group) (out []conclusion) {
	for _, own := range split(pick(g.results, func(r *result) bool { s, _ := r.status(); return s == record.Failed || s == record.Timeout }), func(r *result) string { return r.subject.Name }) {
		var what []string
		for _, r := range own {
			status, _ := r.status()
			what = append(what, describe(r)+" ("+status+")")
		}
		out = append(out, say(nil, "%s gave no figure for %s.", own[0].subject.Name, strings.Join(what, "; ")))
	}
	return out
}

// clientBottleneck: a cell is INVALID, or the harness was later than lateHarness of the median latency.
func clientBottleneck(g *group) (out []conclusion) {
	for _, r := range g.results {
		status, reasons := r.status()
		late := r.lateness()
		switch {
		case status == record.Invalid:
			out = append(out, say(nil, "%s, %s is INVALID: %s.", r.subject.Name, describe(r), brief(reasons)))
		case status == record.OK && r.p50().Known() && late.Value > lateHarness*r.p50().Value:
			out = append(out, say(figures(late, r.p50()), "%s, %s: the harness was late by %s (p99), more than a tenth of the median latency %s.", r.subject.Name, describe(r), late.Text(), r.p50().Text()))
		}
	}
	return out
}

// energyIdle: idle power lies above idleShare of the power at the best load.
func energyIdle(g *group) []conclusion {
	idle := g.first(scenario(record.Idle), (*result).ok)
	busy := peak(pick(g.results, scenario(record.Concurrency, record.Batch), (*result).ok, func(r *result) bool { return len(r.sampled()) > 0 }))
	if idle == nil || busy == nil {
		return nil
	}
	power := func(d device) figure.Figure { return d.power }
	share := figure.Ratio(sumOf(idle.sampled(), power), sumOf(busy.sampled(), power), figure.Times).Scale(100, figure.Percent)
	if !share.Above(idleShare) {
		return nil
	}
	return []conclusion{say(figures(share), "Idle, the cards of %s draw %s of their power under %s: an idle hour costs.", g.card, share.Text(), describe(busy))}
}

// recordBeaten: the interval of this step's best single p50 lies below the reference's best of the step.
func recordBeaten(g *group) []conclusion {
	if g.reference == nil {
		return nil
	}
	m := latency("", 0.5)
	theirs := pick(g.reference.results, scenario(record.Single), func(r *result) bool { return r.step == g.step && m.of(r).Known() })
	mine := pick(g.results, scenario(record.Single), ordinary, (*result).ok, func(r *result) bool { return m.of(r).Known() })
	if len(theirs) == 0 || len(mine) == 0 {
		return nil
	}
	faster := func(a, b *result) int { return cmp.Compare(m.of(a).Value, m.of(b).Value) }
	best, old := slices.MinFunc(mine, faster), slices.MinFunc(theirs, faster)
	if !best.p50().Below(old.p50().Value) {
		return nil
	}
	return []conclusion{say(figures(best.p50(), old.p50()), "%s on %s answers a single image in %s (p50), below the record of step %s: %s by %s on %s. Machines and networks differ.",
		best.subject.Name, best.card, best.p50().String(), g.step, old.p50().Text(), old.subject.Name, old.card)}
}

// winnerChanges: two cards have different backends that are clearly the fastest to compute.
func winnerChanges(b *book) []conclusion {
	var texts []string
	var names []string
	var evidence []figure.Figure
	for _, card := range byCard(b) {
		best, _ := clear(ranked(card), compute)
		if best == nil {
			continue
		}
		names = append(names, best.backend())
		texts = append(texts, fmt.Sprintf("%s on %s (%s)", best.backend(), best.card, best.server().compute.Text()))
		evidence = append(evidence, best.server().compute)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) < 2 {
		return nil
	}
	return []conclusion{say(evidence, "The card changes the winner: %s compute fastest.", strings.Join(texts, ", "))}
}

// payloadAndNetwork: of two formats, the one with the larger payload has a network time that is clearly
// longer; the two farthest apart in payload on one card and one connection are compared.
func payloadAndNetwork(b *book) (out []conclusion) {
	in := pick(b.results, scenario(record.Single), (*result).ok, func(r *result) bool { o, _ := r.wire(); return o.Known() && r.network().Known() })
	for _, same := range split(in, func(r *result) string { return r.card + "\x00" + connection(r.params) }) {
		size := func(r *result) float64 { o, _ := r.wire(); return o.Value }
		small := slices.MinFunc(same, func(a, b *result) int { return cmp.Compare(size(a), size(b)) })
		large := slices.MaxFunc(same, func(a, b *result) int { return cmp.Compare(size(a), size(b)) })
		ratio := figure.Ratio(large.network(), small.network(), figure.Times)
		if size(large) < 2*size(small) || !ratio.Above(1) {
			continue
		}
		outLarge, _ := large.wire()
		outSmall, _ := small.wire()
		out = append(out, say(figures(ratio, outLarge, outSmall), "On %s (%s) %s sends %s an image and spends %s on the network, %s sends %s and spends %s: %s the bytes, %s the time.",
			large.card, connection(large.params), formatName(large.subject.Format), outLarge.Text(), large.network().Text(), formatName(small.subject.Format), outSmall.Text(), small.network().Text(),
			figure.Point(figure.Times, size(large)/size(small), 0).Text(), ratio.String()))
	}
	return out
}

// cheapest: one priced configuration's cost for 1,000 images is clearly below every other's.
func cheapest(b *book) []conclusion {
	m := metric{lower: true, of: func(r *result) figure.Figure { _, c := cost(r); return c }}
	var best []*result
	for _, own := range split(pick(b.results, scenario(record.Concurrency, record.Batch), (*result).ok, func(r *result) bool { return m.of(r).Known() }), func(r *result) string { return r.card + "\x00" + r.subject.Name }) {
		best = append(best, peak(own))
	}
	low, next := clear(best, m)
	if low == nil {
		return nil
	}
	return []conclusion{say(figures(m.of(low), m.of(next)), "%s on %s is the cheapest: %s for 1,000 images; next is %s on %s with %s.", low.subject.Name, low.card, m.of(low).Text(), next.subject.Name, next.card, m.of(next).Text())}
}
