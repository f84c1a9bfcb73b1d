package report

import (
	"math"
	"os"
	"slices"
	"testing"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/scrape"
)

// TestDCGMUnits: MiB, percent, watts and millijoules of dcgm-exporter's page become the report's units.
func TestDCGMUnits(t *testing.T) {
	text, err := os.ReadFile("../scrape/testdata/dcgm.txt")
	if err != nil {
		t.Fatal(err)
	}
	page, err := scrape.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	before := scrape.Cards(page)
	after := slices.Clone(before)
	for i := range after {
		if after[i].Name == "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION" && after[i].Labels["gpu"] == "0" {
			after[i].Value += 41_250_700 // 412.507 W for 100 s, in mJ
		}
	}
	cards := readCards([]record.Sample{{Source: "dcgm", Values: before}, {At: 100e9, Source: "dcgm", Values: after}})
	const busy, idle = "GPU-11111111-2222-3333-4444-555555555555", "GPU-66666666-7777-8888-9999-000000000000"
	if len(cards) != 2 || cards[busy] == nil || cards[idle] == nil {
		t.Fatalf("%d cards", len(cards))
	}
	d := cards[busy].device(busy)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"memory used", d.used.Value, 3584 << 20}, {"memory in all", d.total.Value, (3584 + 77824) << 20}, {"utilization", d.utilization.Value, 87},
		{"power", d.power.Value, 412.507}, {"energy", d.energy, 41250.7}, {"seconds", d.seconds, 100},
	} {
		if math.Abs(c.got-c.want) > 1e-6*c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if d := cards[idle].device(idle); d.energy != 0 || d.power.Value != 68.912 {
		t.Errorf("the idle card: %+v", d)
	}
}

// TestRenewal: of a counter that is renewed less often than it is read only whole periods count.
func TestRenewal(t *testing.T) {
	every := func(n int) (at []int64) {
		for i := range n {
			at = append(at, int64(i)*1e9)
		}
		return at
	}
	for _, c := range []struct {
		name        string
		v           []float64
		by, seconds float64
	}{
		{"none", nil, 0, 0}, {"one", []float64{5}, 0, 0}, {"still", []float64{5, 5, 5}, 0, 0},
		{"read as often as renewed", []float64{0, 100, 210, 300}, 300, 3},
		{"renewed once", []float64{0, 0, 300, 300}, 0, 0},
		{"renewed every three seconds", []float64{0, 0, 300, 300, 300, 600, 600, 600, 900}, 600, 6},
		{"reset", []float64{500, 600, 50}, 0, 0},
	} {
		if by, seconds := renewal(c.v, every(len(c.v))); by != c.by || seconds != c.seconds {
			t.Errorf("%s: %v in %v s, want %v in %v", c.name, by, seconds, c.by, c.seconds)
		}
	}
}
