package cuda

import (
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/kernels"
)

// module is the machine code of one precision, loaded on a device, with the functions that the forward
// pass calls.
type module struct {
	target    kernels.Target
	loaded    []driver.Module
	patch     driver.Function
	norm      driver.Function
	attention driver.Function
	products  map[string]driver.Function // by variant and epilogue
	variants  []variant
}

// typeName is the name, in the kernels' names, of what a precision computes with; fp8 does so in fp16 where it does not in
// E4M3.
var typeName = map[engine.Precision]string{engine.FP32: "f32", engine.FP16: "f16", engine.BF16: "bf16", engine.FP8: "f16"}

// oldestDriver is the CUDA version of the compiler (kernels/build.py), 13.0: older drivers load neither its machine
// code nor its PTX.
const oldestDriver = 13000

// load loads what the forward pass of a model needs, compiled for target or, without one, for the device.
func load(g driver.GPU, precision engine.Precision, size sharedSizes, target kernels.Target) (*module, error) {
	if have := g.Info().Driver; have < oldestDriver {
		return nil, fmt.Errorf("the driver knows CUDA %d.%d at most: the kernels need %d.%d, which is driver 580 or later",
			have/1000, have%1000/10, oldestDriver/1000, oldestDriver%1000/10)
	}
	best, err := kernels.TargetFor(int(g.Info().Capability))
	if err != nil {
		return nil, err
	}
	if target == "" {
		target = best
	}
	m := &module{target: target, products: map[string]driver.Function{}}
	if err := m.load(g, precision, size); err != nil {
		return nil, errors.Join(fmt.Errorf("load the kernels for %s: %w", target, err), m.close(g))
	}
	return m, nil
}

// sharedSizes are the bytes of shared memory of kernels whose need depends on the model.
type sharedSizes struct{ patch, attention int }

func (m *module) load(g driver.GPU, precision engine.Precision, size sharedSizes) error {
	name := typeName[precision]
	for _, k := range []struct {
		unit   string
		shared int
		to     *driver.Function
	}{{"patch", size.patch, &m.patch}, {"norm", 0, &m.norm}, {"attention", size.attention, &m.attention}} {
		loaded, err := m.image(g, k.unit)
		if err != nil {
			return err
		}
		if *k.to, err = g.Function(loaded, k.unit+"_"+name, k.shared); err != nil {
			return err
		}
	}
	if name == "f32" {
		return m.addVariants(g, "gemm_f32", name, reference)
	}
	if m.target == kernels.SM90a {
		if err := m.addVariants(g, "gemm_sm90_"+name, name, hopper); err != nil {
			return err
		}
	}
	if precision == engine.FP8 {
		if err := m.addFP8(g, name); err != nil {
			return err
		}
	}
	return m.addVariants(g, "gemm_sm80", name, portable)
}

func (m *module) image(g driver.GPU, unit string) (driver.Module, error) {
	code, err := kernels.Image(m.target, unit)
	if err != nil {
		return 0, err
	}
	loaded, err := g.Load(code)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	m.loaded = append(m.loaded, loaded)
	return loaded, nil
}

func (m *module) addVariants(g driver.GPU, unit, name string, variants []variant) error {
	m.variants = append(m.variants, variants...)
	return m.addProducts(g, unit, name, variants, func(epilogue) bool { return true })
}

// addFP8 adds the products around fp8, which are in two units.
func (m *module) addFP8(g driver.GPU, name string) error {
	if m.target != kernels.SM90a {
		return fmt.Errorf("%s has no products in fp8: they need compute capability 9.0 (Hopper)", m.target)
	}
	m.variants = append(m.variants, hopperFP8...)
	if err := m.addProducts(g, "gemm_sm90_e4m3", name, hopperFP8, epilogue.fp8); err != nil {
		return err
	}
	return m.addProducts(g, "gemm_sm90_copy", name, hopperFP8, func(e epilogue) bool { return !e.fp8() })
}

// addProducts finds the kernels of those epilogues that are in the unit.
func (m *module) addProducts(g driver.GPU, unit, name string, variants []variant, in func(epilogue) bool) error {
	loaded, err := m.image(g, unit)
	if err != nil {
		return err
	}
	for _, v := range variants {
		for _, e := range v.epilogues {
			if !in(e) {
				continue
			}
			f, err := g.Function(loaded, fmt.Sprintf("gemm_%s_%s_%s", name, v.name, e), v.shared(e))
			if err != nil {
				return err
			}
			m.products[v.name+string(e)] = f
		}
	}
	return nil
}

func (m *module) close(g driver.GPU) (err error) {
	for _, l := range m.loaded {
		err = errors.Join(err, g.Unload(l))
	}
	return err
}
