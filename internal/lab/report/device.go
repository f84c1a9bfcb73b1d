package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// device is one card over a result: means of what was sampled, and energy by its counter.
type device struct {
	id                                    string
	used, total, utilization, power, most figure.Figure
	energy                                float64 // joules over the sampled time
	seconds                               float64 // of that time
}

// reading names one quantity in the vocabularies of metrics pages, with the factor to bytes, percent,
// watts or joules.
type reading struct {
	quantity string
	factor   float64
}

var readings = map[string]reading{
	"nv_gpu_memory_used_bytes":             {"used", 1},
	"nv_gpu_memory_total_bytes":            {"total", 1},
	"nv_gpu_utilization":                   {"utilization", 100},
	"nv_gpu_power_usage":                   {"power", 1},
	"nv_gpu_power_limit":                   {"limit", 1},
	"nv_energy_consumption":                {"energy", 1},
	"DCGM_FI_DEV_FB_USED":                  {"used", 1 << 20},
	"DCGM_FI_DEV_FB_FREE":                  {"free", 1 << 20},
	"DCGM_FI_DEV_FB_TOTAL":                 {"total", 1 << 20},
	"DCGM_FI_DEV_GPU_UTIL":                 {"utilization", 1},
	"DCGM_FI_DEV_POWER_USAGE":              {"power", 1},
	"DCGM_FI_DEV_POWER_MGMT_LIMIT":         {"limit", 1},
	"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": {"energy", 1e-3},
}

// series are the sampled values of one card, by quantity.
type series struct {
	values map[string][]float64
	at     map[string][]int64
}

// cards that were sampled during the result, in the order of their names.
func (r *result) sampled() []device {
	if r.devices != nil {
		return r.devices
	}
	var out []device
	for _, c := range r.rounds() {
		byCard := readCards(c.samples)
		for _, s := range byCard {
			s.trim()
		}
		ids := make([]string, 0, len(byCard))
		for id := range byCard {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			out = mergeDevice(out, byCard[id].device(id))
		}
	}
	if len(out) == 0 {
		out = r.measuredDevices()
	}
	slices.SortFunc(out, func(a, b device) int { return cmp.Compare(a.id, b.id) })
	r.devices = out
	return out
}

func readCards(samples []record.Sample) map[string]*series {
	cards := map[string]*series{}
	for _, s := range samples {
		for _, v := range s.Values {
			what, known := readings[v.Name]
			if !known {
				continue
			}
			id := cmp.Or(v.Labels["gpu_uuid"], v.Labels["UUID"], v.Labels["uuid"], v.Labels["gpu"], "0")
			if cards[id] == nil {
				cards[id] = &series{values: map[string][]float64{}, at: map[string][]int64{}}
			}
			cards[id].values[what.quantity] = append(cards[id].values[what.quantity], v.Value*what.factor)
			cards[id].at[what.quantity] = append(cards[id].at[what.quantity], s.At)
		}
	}
	return cards
}

// trim drops the first and the last value of what is a state, not a counter: they are read before and
// after the load. Fewer than four are kept as they are.
func (s *series) trim() {
	for name, v := range s.values {
		if name != "energy" && len(v) >= 4 {
			s.values[name] = v[1 : len(v)-1]
		}
	}
}

func (s *series) device(id string) device {
	of := func(name string, unit figure.Unit) figure.Figure { return mean(unit, [][]float64{s.values[name]}) }
	d := device{
		id: id, used: of("used", figure.Bytes), total: of("total", figure.Bytes),
		utilization: of("utilization", figure.Percent), power: of("power", figure.Watts), most: of("limit", figure.Watts),
	}
	if free := of("free", figure.Bytes); !d.total.Known() && d.used.Known() && free.Known() {
		d.total = figure.Point(figure.Bytes, d.used.Value+free.Value, d.used.N) // less what the driver keeps for itself
	}
	d.energy, d.seconds = renewal(s.values["energy"], s.at["energy"])
	return d
}

// renewal is how far a counter rose, and in how many seconds. A counter that stood still between two readings is renewed less
// often than it is read (dcgm-exporter: every 30 s unless told otherwise): it is then taken between the first and the last
// renewal that were seen, as what lies before and after them is not known.
func renewal(v []float64, at []int64) (by, seconds float64) {
	var renewed []int
	for i := 1; i < len(v); i++ {
		if v[i] != v[i-1] {
			renewed = append(renewed, i)
		}
	}
	if len(renewed) == 0 {
		return 0, 0
	}
	first, last := 0, len(v)-1
	if len(renewed) < last {
		first, last = renewed[0], renewed[len(renewed)-1]
	}
	if v[last] < v[first] { // reset in between
		return 0, 0
	}
	return v[last] - v[first], float64(at[last]-at[first]) / 1e9
}

// mergeDevice adds a round's card to those of earlier rounds: the latest memory, all rounds' energy.
func mergeDevice(devices []device, d device) []device {
	for i := range devices {
		if devices[i].id == d.id {
			d.energy += devices[i].energy
			d.seconds += devices[i].seconds
			devices[i] = d
			return devices
		}
	}
	return append(devices, d)
}

// measuredDevices reads measures gpu_memory_used, gpu_memory_total, gpu_utilization, gpu_power and
// gpu_power_limit, one value a card.
func (r *result) measuredDevices() (out []device) {
	columns := map[string][]float64{}
	n := 0
	for _, name := range []string{"gpu_memory_used", "gpu_memory_total", "gpu_utilization", "gpu_power", "gpu_power_limit"} {
		columns[name], _ = r.values(name)
		n = max(n, len(columns[name]))
	}
	at := func(name string, i int, unit figure.Unit) figure.Figure {
		if i >= len(columns[name]) {
			return figure.Figure{}
		}
		return figure.Point(unit, columns[name][i], 0)
	}
	for i := range n {
		out = append(out, device{
			id: strconv.Itoa(i), used: at("gpu_memory_used", i, figure.Bytes), total: at("gpu_memory_total", i, figure.Bytes),
			utilization: at("gpu_utilization", i, figure.Percent), power: at("gpu_power", i, figure.Watts), most: at("gpu_power_limit", i, figure.Watts),
		})
	}
	return out
}

// sumOf adds one quantity over cards; unknown if a card lacks it. The intervals are added in quadrature.
func sumOf(devices []device, of func(device) figure.Figure) figure.Figure {
	var total figure.Figure
	for i, d := range devices {
		f := of(d)
		switch {
		case !f.Known():
			return figure.Figure{}
		case i == 0:
			total = f
		default:
			total = add(total, f)
		}
	}
	return total
}

func add(a, b figure.Figure) figure.Figure {
	sum := figure.Point(a.Unit, a.Value+b.Value, min(a.N, b.N))
	if a.HasInterval() && b.HasInterval() {
		sum.Low = sum.Value - math.Hypot(a.Value-a.Low, b.Value-b.Low)
		sum.High = sum.Value + math.Hypot(a.High-a.Value, b.High-b.Value)
	}
	return sum
}

// averageUtilization over cards.
func averageUtilization(devices []device) figure.Figure {
	return sumOf(devices, func(d device) figure.Figure { return d.utilization }).Scale(1/float64(max(len(devices), 1)), figure.Percent)
}

// shortestEnergy is the least time over which an energy counter is read: it moves in steps of about
// 100 ms, and power is sampled a part of the time.
const shortestEnergy = 5.0 // seconds

// energyPerThousand is the rise of the cards' energy counters during the result over the images answered,
// in joules per 1,000. It is unknown below shortestEnergy.
func (r *result) energyPerThousand() figure.Figure {
	if f := r.measured("energy_per_1000"); f.Known() {
		return f
	}
	var joules, seconds float64
	for _, d := range r.sampled() {
		joules += d.energy
		seconds = max(seconds, d.seconds)
	}
	rate := r.throughput()
	if joules <= 0 || seconds < shortestEnergy || !rate.Known() {
		return figure.Figure{}
	}
	return rate.Inverse(1000*joules/seconds, figure.Joules)
}

// process is what the server's process used, where its metrics say so.
type process struct {
	resident figure.Figure // bytes, the highest seen
	cpu      figure.Figure // seconds of processor time for 1,000 images
}

func (r *result) process() (p process) {
	var seconds, span float64
	for _, c := range r.rounds() {
		var first, last record.Sample
		var from, to float64
		seen := false
		for _, s := range c.samples {
			for _, v := range s.Values {
				switch {
				case s.Source == fromClient:
				case v.Name == "process_resident_memory_bytes" && (!p.resident.Known() || v.Value > p.resident.Value):
					p.resident = figure.Point(figure.Bytes, v.Value, 1)
				case v.Name == "process_cpu_seconds_total" && !seen:
					first, from, to, last, seen = s, v.Value, v.Value, s, true
				case v.Name == "process_cpu_seconds_total":
					to, last = v.Value, s
				}
			}
		}
		seconds, span = seconds+to-from, span+float64(last.At-first.At)/1e9
	}
	if rate := r.throughput(); span > 0 && seconds > 0 && rate.Known() {
		p.cpu = rate.Inverse(1000*seconds/span, "s")
	}
	return p
}
