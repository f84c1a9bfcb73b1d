package main

import (
	"slices"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/numa"
)

// identify is what the driver says of a card. One that it does not have, as --engine null computes on, has
// no identity.
func identify(card int) driver.Identity {
	id, err := driver.Identify(card)
	if err != nil {
		return driver.Identity{}
	}
	return id
}

// near is where a device is.
func near(d fleet.Device) numa.Place {
	if d.GPU == fleet.CPU {
		return numa.Place{Node: numa.Unknown}
	}
	return numa.Of(identify(d.GPU).PCI)
}

// placeOf is where the card of a UUID is; NVML counts cards otherwise than the driver does.
func placeOf(uuid string) numa.Place {
	n, err := driver.Count()
	if err != nil {
		n = 0
	}
	for card := range n {
		if id := identify(card); id.UUID == uuid && uuid != "" {
			return numa.Of(id.PCI)
		}
	}
	return numa.Place{Node: numa.Unknown}
}

// kinds are the names of the cards that may compute, each once: of those that were named, or of all.
func (d *deviceFlags) kinds() (names []string) {
	cards, err := allCards()
	if !d.all() {
		cards, err = d.named()
	}
	if err != nil {
		return nil
	}
	for _, n := range cards {
		if name := identify(n).Name; name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
