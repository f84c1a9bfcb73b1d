package scrape

import (
	"os"
	"testing"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// TestCards reads a page of dcgm-exporter (its shape and labels; the values are made up): what is of a card stays, and
// nothing that names a machine.
func TestCards(t *testing.T) {
	text, err := os.ReadFile("testdata/dcgm.txt")
	if err != nil {
		t.Fatal(err)
	}
	page, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(page) != 15 || !TellsOfCards(page) {
		t.Fatalf("%d series, of cards: %v", len(page), TellsOfCards(page))
	}
	cards := Cards(page)
	if len(cards) != 14 {
		t.Errorf("%d series of cards, want all but the profiling one", len(cards))
	}
	found := map[string]float64{}
	for _, v := range cards {
		for name := range v.Labels {
			if name != "gpu" && name != "UUID" && name != "modelName" {
				t.Errorf("%s keeps the label %s", v.Name, name)
			}
		}
		found[v.Name+" "+v.Labels["gpu"]] = v.Value
	}
	for name, want := range map[string]float64{
		"DCGM_FI_DEV_FB_USED 0": 3584, "DCGM_FI_DEV_FB_USED 1": 0, "DCGM_FI_DEV_GPU_UTIL 0": 87, "DCGM_FI_DEV_POWER_USAGE 0": 412.507,
		"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION 0": 1204587733312,
	} {
		if got, ok := found[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if page[0].Labels["Hostname"] != "node-7" {
		t.Error("the page itself was changed")
	}
}

// TestWithoutCards: Triton's page without what another source tells of the cards.
func TestWithoutCards(t *testing.T) {
	page := []record.Value{value(RequestSuccess, 1), value("nv_gpu_utilization", 0.5), value(Energy, 7), value("nv_cpu_utilization", 0.1)}
	rest := WithoutCards(page)
	if len(rest) != 2 || rest[0].Name != RequestSuccess || rest[1].Name != "nv_cpu_utilization" {
		t.Errorf("%+v", rest)
	}
	if TellsOfCards(rest) || !TellsOfCards(page) || len(Cards(page)) != 2 {
		t.Errorf("%v, %v, %+v", TellsOfCards(rest), TellsOfCards(page), Cards(page))
	}
}

// TestBlank: an old exporter writes what a card does not have as a number near the largest.
func TestBlank(t *testing.T) {
	page, err := Parse([]byte("DCGM_FI_DEV_MEMORY_TEMP{gpu=\"0\"} 9223372036854775794\nDCGM_FI_DEV_POWER_USAGE{gpu=\"0\"} 140737488355330.000000\n" +
		"DCGM_FI_DEV_FB_USED{gpu=\"0\"} 2147483632\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 7\nnv_gpu_memory_used_bytes{gpu_uuid=\"x\"} 2147483632\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cards := Cards(page); len(cards) != 2 || cards[0].Value != 7 || cards[1].Value != 2147483632 {
		t.Errorf("%+v", cards)
	}
}
