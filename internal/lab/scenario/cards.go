package scenario

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// cardsEvery is the distance of samples.
const cardsEvery = time.Second

// cardSampling reads this machine's cards during a cell; nil reads none.
type cardSampling struct {
	sampler *gpu.Sampler
	write   func([]record.Value)
	stopped chan struct{}
	done    chan struct{}
}

// sampleCards begins to read the cards for a target on this machine. told says that the target tells of them
// itself: two sources of one card would be added up.
func (r *Runner) sampleCards(j *job, told bool) *cardSampling {
	if r.Cards == nil || told || !onThisMachine(j.target) {
		return nil
	}
	s := &cardSampling{sampler: gpu.NewSampler(r.Cards, 0), stopped: make(chan struct{}), done: make(chan struct{})}
	s.write = func(values []record.Value) {
		// The writer keeps its first error and gives it to whoever writes next.
		_ = r.Log.Write(record.Sample{Cell: j.id, At: r.now(), Source: "nvml", Values: values})
	}
	s.sample()
	go s.run()
	return s
}

func (s *cardSampling) run() {
	defer close(s.done)
	tick := time.NewTicker(cardsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sample()
		case <-s.stopped:
			s.sample()
			return
		}
	}
}

// stop takes the sample after the cell.
func (s *cardSampling) stop() {
	if s != nil {
		close(s.stopped)
		<-s.done
	}
}

// sample writes what is known of every card under Triton's names; energy counts from the cell's beginning.
func (s *cardSampling) sample() {
	var values []record.Value
	for _, c := range s.sampler.Sample() {
		label := map[string]string{"gpu_uuid": c.UUID}
		for _, v := range []struct {
			name  string
			value float64
		}{
			{"nv_gpu_utilization", c.Utilization}, {"nv_gpu_memory_total_bytes", float64(c.MemoryTotal)},
			{"nv_gpu_memory_used_bytes", float64(c.MemoryUsed)}, {"nv_gpu_power_usage", c.Power},
			{"nv_gpu_power_limit", c.PowerLimit}, {"nv_energy_consumption", c.Spent},
		} {
			if v.value >= 0 {
				values = append(values, record.Value{Name: v.name, Labels: label, Value: v.value})
			}
		}
	}
	s.write(values)
}

// onThisMachine tells whether the target computes here: in this process, started by the study, or on
// loopback.
func onThisMachine(t *plan.Target) bool {
	if t.URL == "" || t.Server != "" {
		return true
	}
	host := t.URL
	if u, err := url.Parse(t.URL); err == nil && u.Host != "" {
		host = u.Host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
