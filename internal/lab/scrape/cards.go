package scrape

import (
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// cardPrefixes begin the series that are of a card: Triton's and Vitrine's, and dcgm-exporter's.
var cardPrefixes = []string{"nv_gpu_", "DCGM_FI_DEV_"}

// ofCard tells whether a series is a card's. Triton's energy counter has a name of another kind.
func ofCard(name string) bool {
	for _, p := range cardPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return name == Energy
}

// cardLabels tell cards apart or say what they are. dcgm-exporter's other labels name the machine (Hostname), its
// containers and where the card sits in it.
var cardLabels = []string{"gpu_uuid", "UUID", "gpu", "modelName", "GPU_I_ID", "GPU_I_PROFILE"}

// TellsOfCards tells whether a page has figures of cards.
func TellsOfCards(page []record.Value) bool {
	for i := range page {
		if name := page[i].Name; ofCard(name) && name != Energy {
			return true
		}
	}
	return false
}

// Cards are a page's figures of cards, with those labels alone that a record may keep.
func Cards(page []record.Value) (cards []record.Value) {
	for _, v := range page {
		if !ofCard(v.Name) || strings.HasPrefix(v.Name, "DCGM_") && blank(v.Value) {
			continue
		}
		labels := map[string]string{}
		for _, name := range cardLabels {
			if text, ok := v.Labels[name]; ok {
				labels[name] = text
			}
		}
		v.Labels = labels
		cards = append(cards, v)
	}
	return cards
}

// WithoutCards is the rest of a page.
func WithoutCards(page []record.Value) (rest []record.Value) {
	for _, v := range page {
		if !ofCard(v.Name) {
			rest = append(rest, v)
		}
	}
	return rest
}

// blank tells whether a value is DCGM's for "there is none" (dcgm_structs.h): exporters of before 2022 write it out. The
// lowest four bits say why there is none; as a float64 the integer of 64 bits has lost them.
func blank(v float64) bool {
	for _, b := range []float64{0x7ffffff0, 0x7ffffffffffffff0, 1 << 47} {
		if v >= b && v < b+16 || v == b {
			return true
		}
	}
	return false
}
