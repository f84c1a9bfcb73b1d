package repository

import (
	"fmt"
	"slices"
	"strings"
)

// CPU is the Place.GPU of the processor.
const CPU = -1

// Place is how many instances of a model run on one device.
type Place struct {
	GPU       int // the card's number, or CPU
	Instances int
}

// Place decides where instance groups run that leave it open, as Triton does: of kind auto on the cards
// where there are any, else on the processor; of kind GPU without a list on every card. It is an error to
// ask for a card that is not among gpus.
func (c *Config) Place(gpus []int) error {
	for i := range c.InstanceGroup {
		if err := c.InstanceGroup[i].place(c.Name, gpus); err != nil {
			return err
		}
	}
	return nil
}

func (g *InstanceGroup) place(model string, gpus []int) error {
	if g.Kind == "KIND_AUTO" {
		g.Kind = "KIND_CPU"
		if len(gpus) > 0 {
			g.Kind = "KIND_GPU"
		}
	}
	if g.Kind != "KIND_GPU" {
		return nil
	}
	if len(gpus) == 0 {
		return fmt.Errorf("instance group %s of model %s has kind KIND_GPU but no GPUs are available", g.Name, model)
	}
	if len(g.GPUs) == 0 {
		for _, id := range gpus {
			g.GPUs = append(g.GPUs, int32(id))
		}
	}
	for _, id := range g.GPUs {
		if !slices.Contains(gpus, int(id)) {
			return fmt.Errorf("instance group %s of model %s specifies invalid or unsupported gpu id %d. GPUs that can be used are: %s",
				g.Name, model, id, numbers(gpus))
		}
	}
	return nil
}

func numbers(ids []int) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return strings.Join(texts, ", ")
}

// Places are the devices of a model whose groups have been placed, in the order in which they are named:
// a group's count is one of each of its cards, and groups on one device add up.
func (c *Config) Places() (all []Place) {
	add := func(gpu int, n int32) {
		for i := range all {
			if all[i].GPU == gpu {
				all[i].Instances += int(n)
				return
			}
		}
		all = append(all, Place{gpu, int(n)})
	}
	for _, g := range c.InstanceGroup {
		if g.Kind != "KIND_GPU" {
			add(CPU, g.Count)
			continue
		}
		for _, id := range g.GPUs {
			add(int(id), g.Count)
		}
	}
	return all
}
