package report

import (
	"strings"
	"sync"
	"testing"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

var plain = server{name: "S", format: "oip-binary", backend: "B", software: "s", card: "Card", price: "1.00", compute: 5, each: 2, overhead: 1, network: 2, bytes: 1000, spread: 0.05}

// theirs is a reference to beat: a few single images of step 4.
var theirs = sync.OnceValue(func() *run {
	s := newSynth(9)
	s.single("4", s.subject(with(func(v *server) { v.network = 200 })), 100)
	return s.run
})

// findings of a study that make builds, by rule.
func findings(make func(s *synth)) map[string][]string {
	s := newSynth(5)
	make(s)
	out := map[string][]string{}
	collect := func(all []page.Finding) {
		for _, f := range all {
			out[f.Rule] = append(out[f.Rule], f.Text)
		}
	}
	for _, section := range build("", []*run{s.run}, []*run{theirs()}).Sections {
		collect(section.Findings)
	}
	return out
}

func (s *synth) single(step string, v server, n int) *cell {
	c := s.cell(step, record.Single, v, record.Params{Batch: 1}, 0)
	s.closed(c, v, n, 1, 1, 1)
	s.end(c, record.OK)
	return c
}

func (s *synth) load(v server, clients int, p record.Params, slow float64) {
	p.Batch, p.Concurrency = 1, clients
	for round := range 3 {
		c := s.cell("1", record.Concurrency, v, p, round)
		s.closed(c, v, 300, clients, 1, slow)
		s.end(c, record.OK)
	}
}

func with(change func(*server)) server {
	v := plain
	change(&v)
	return v
}

// Each rule speaks where its condition holds, and is silent beside it.
func TestRules(t *testing.T) {
	other := with(func(v *server) { v.name, v.backend, v.compute = "T", "C", 20 })
	for _, c := range []struct {
		rule   string
		speaks func(*synth)
		silent func(*synth)
	}{
		{"network-dominates",
			func(s *synth) { s.single("1", s.subject(with(func(v *server) { v.network = 40 })), 200) },
			func(s *synth) { s.single("1", s.subject(plain), 200) }},
		{"single-image-winner",
			func(s *synth) { s.single("1", s.subject(plain), 200); s.single("1", s.subject(other), 200) },
			func(s *synth) {
				s.single("1", s.subject(plain), 200)
				s.single("1", s.subject(with(func(v *server) { v.name = "T" })), 200)
			}},
		{"compute-is-not-latency",
			func(s *synth) {
				s.single("1", s.subject(plain), 200)
				s.single("1", s.subject(with(func(v *server) { v.name, v.backend, v.compute, v.network = "T", "C", 2, 50 })), 200)
			},
			func(s *synth) { s.single("1", s.subject(plain), 200); s.single("1", s.subject(other), 200) }},
		{"tail-anomaly",
			func(s *synth) {
				c := s.single("1", s.subject(plain), 1500)
				for i := range c.requests {
					if i%40 == 0 {
						c.requests[i].Done += 9e7
					}
				}
			},
			func(s *synth) { s.single("1", s.subject(plain), 1500) }},
		{"rounds-disagree",
			func(s *synth) {
				s.subject(plain)
				s.single("1", plain, 200)
				s.single("1", with(func(v *server) { v.network = 9 }), 200)
			},
			func(s *synth) { s.subject(plain); s.single("1", plain, 200); s.single("1", plain, 200) }},
		{"batching-pays",
			func(s *synth) { s.batches(s.subject(plain)) },
			func(s *synth) { s.single("1", s.subject(plain), 200) }},
		{"serialization-slow",
			func(s *synth) { s.serialization("1", s.subject(plain)) },
			func(s *synth) { s.single("1", s.subject(plain), 200) }},
		{"serialization-dominates",
			func(s *synth) { s.serialization("1", s.subject(plain)); s.single("1", plain, 200) },
			func(s *synth) {
				v := with(func(v *server) { v.compute = 400 })
				s.serialization("1", s.subject(v))
				s.single("1", v, 60)
			}},
		{"queue-share-high",
			func(s *synth) { s.load(s.subject(plain), 16, record.Params{}, 4) },
			func(s *synth) { s.load(s.subject(plain), 16, record.Params{}, 1.05) }},
		{"batches-too-small",
			func(s *synth) { s.load(s.subject(plain), 32, record.Params{}, 3) },
			func(s *synth) { s.load(s.subject(plain), 2, record.Params{}, 3) }},
		{"saturation",
			func(s *synth) {
				s.subject(plain)
				s.load(plain, 4, record.Params{}, 1)
				s.load(plain, 8, record.Params{}, 1.2)
				s.load(plain, 16, record.Params{}, 9)
			},
			func(s *synth) {
				s.subject(plain)
				s.load(plain, 4, record.Params{}, 1)
				s.load(plain, 8, record.Params{}, 1.1)
				s.load(plain, 16, record.Params{}, 1.2)
			}},
		{"scaling-poor",
			func(s *synth) {
				s.subject(plain)
				s.load(plain, 8, record.Params{Instances: 1}, 2)
				s.load(plain, 8, record.Params{Instances: 4}, 1.5)
			},
			func(s *synth) {
				s.subject(plain)
				s.load(plain, 8, record.Params{Instances: 1}, 5)
				s.load(plain, 32, record.Params{Instances: 4}, 5)
			}},
		{"hidden-wait", func(s *synth) { s.openLoop() }, func(s *synth) { s.single("1", s.subject(plain), 200) }},
		{"cells-not-answered",
			func(s *synth) {
				s.end(s.cell("1", record.Batch, s.subject(plain), record.Params{Batch: 8}, 0), record.Timeout, "no answer in 30 s")
			},
			func(s *synth) { s.batches(s.subject(plain)) }},
		{"client-was-bottleneck",
			func(s *synth) {
				c := s.single("1", s.subject(plain), 100)
				c.end.Status, c.end.Reasons = record.Invalid, []string{"processor saturated"}
			},
			func(s *synth) { s.single("1", s.subject(plain), 100) }},
		{"energy-idle", func(s *synth) { s.idleAndLoad(1.3) }, func(s *synth) { s.load(s.subject(plain), 8, record.Params{}, 2) }},
		{"record-beaten",
			func(s *synth) { s.single("4", s.subject(plain), 200) },
			func(s *synth) { s.single("4", s.subject(with(func(v *server) { v.network = 900 })), 50) }},
		{"protocol-change",
			func(s *synth) {
				s.single("1", s.subject(with(func(v *server) { v.name, v.format, v.network = "J", "oip-json", 90 })), 200)
				s.single("2", s.subject(plain), 200)
			},
			func(s *synth) { s.single("1", s.subject(plain), 200); s.single("2", plain, 200) }},
		{"winner-changes-with-card",
			func(s *synth) { s.cards(5, 1) },
			func(s *synth) { s.cards(5, 8) }},
		{"payload-and-network",
			func(s *synth) {
				s.single("1", s.subject(with(func(v *server) { v.name, v.bytes, v.network = "J", 100000, 90 })), 200)
				s.single("1", s.subject(plain), 200)
			},
			func(s *synth) { s.single("1", s.subject(plain), 200) }},
		{"cheapest",
			func(s *synth) {
				s.load(s.subject(plain), 8, record.Params{}, 1)
				s.load(s.subject(with(func(v *server) { v.name, v.price = "T", "9.00" })), 8, record.Params{}, 1)
			},
			func(s *synth) { s.load(s.subject(plain), 8, record.Params{}, 1) }},
	} {
		if got := findings(c.speaks)[c.rule]; len(got) == 0 {
			t.Errorf("%s is silent where it should speak", c.rule)
		}
		if got := findings(c.silent)[c.rule]; len(got) != 0 {
			t.Errorf("%s speaks where it should be silent: %s", c.rule, strings.Join(got, " / "))
		}
	}
}

func TestEveryRuleHasACase(t *testing.T) {
	d := build("", []*run{study(1)}, nil)
	if len(d.Sections) == 0 {
		t.Fatal("no sections")
	}
	if n := len(groupRules) + len(bookRules); n != 21 {
		t.Errorf("%d rules: TestRules has cases for 21", n)
	}
}

func (s *synth) batches(v server) {
	for _, n := range []int{1, 32} {
		for round := range 3 {
			c := s.cell("1", record.Batch, v, record.Params{Batch: n}, round)
			s.closed(c, v, 60, 1, n, 1)
			s.end(c, record.OK)
		}
	}
}

func (s *synth) idleAndLoad(slow float64) {
	v := s.subject(plain)
	c := s.cell("1", record.Idle, v, record.Params{}, 0)
	for range 10 {
		s.now += 1e9
		s.scrape(c, v, 0, 0)
	}
	s.end(c, record.OK)
	s.load(v, 8, record.Params{}, slow)
}

// cards measures two backends on two cards; the second's compute on the second card is given.
func (s *synth) cards(first, second float64) {
	for _, card := range []string{"One", "Two"} {
		a := with(func(v *server) { v.name, v.card = "A on "+card, card })
		b := with(func(v *server) { v.name, v.card, v.backend, v.compute = "B on "+card, card, "C", 2*first })
		if card == "Two" {
			b.compute = second
		}
		s.single("1", s.subject(a), 200)
		s.single("1", s.subject(b), 200)
	}
}

// A finding without intervals behind it must not be drawn: figures that were recorded as such have none.
func TestBareFiguresSupportNothing(t *testing.T) {
	got := findings(func(s *synth) {
		for i, v := range []server{plain, with(func(v *server) { v.name = "T" })} {
			c := s.cell("1", record.Single, s.subject(v), record.Params{Batch: 1}, 0)
			s.measure(c, "latency_p50", "ms", 10*float64(i+1))
			s.measure(c, "latency_mean", "ms", 10*float64(i+1))
			s.measure(c, "server_total", "ms", 1)
			s.measure(c, "server_compute", "ms", 0.5*float64(i+1))
			s.end(c, record.OK)
		}
	})
	if len(got) > 0 {
		t.Errorf("findings without intervals: %v", got)
	}
}
