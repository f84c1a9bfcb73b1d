package cpufeat

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// Variant is one implementation of an operator.
type Variant[T any] struct {
	Level Level // what it needs; of the variants that may run, the highest level is preferred
	Impl  T
}

// Name is the name of the level.
func (v Variant[T]) Name() string { return v.Level.String() }

// Op is an operator with its variants. Register them in init functions or variable initialisers; the
// choice is made at the first Best and then stands.
type Op[T any] struct {
	name     string
	mu       sync.Mutex
	variants []Variant[T]
	tested   map[Level]bool
	best     func() Variant[T]
}

// New makes an operator with its portable implementation and adds it to the registry.
func New[T any](name string, portable T) *Op[T] {
	o := &Op[T]{name: name, tested: map[Level]bool{}}
	o.variants = []Variant[T]{{Generic, portable}}
	o.best = sync.OnceValue(o.choose)
	registry.add(o)
	return o
}

// Register adds a variant. A second one of the same level panics.
func (o *Op[T]) Register(l Level, impl T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, found := slices.BinarySearchFunc(o.variants, l, func(v Variant[T], l Level) int { return cmp.Compare(v.Level, l) })
	if found {
		panic(fmt.Sprintf("cpufeat: %s has two variants %s", o.name, l))
	}
	o.variants = slices.Insert(o.variants, i, Variant[T]{l, impl})
}

// Best is the variant of the highest level not above Selected.
func (o *Op[T]) Best() Variant[T] { return o.best() }

func (o *Op[T]) choose() Variant[T] {
	limit, _ := Selected()
	o.mu.Lock()
	defer o.mu.Unlock()
	best := o.variants[0]
	for _, v := range o.variants {
		if v.Level <= limit {
			best = v
		}
	}
	return best
}

// ForTest calls f for every variant that this machine can run and counts those as tested (see
// Untested).
func (o *Op[T]) ForTest(f func(Variant[T])) {
	o.mu.Lock()
	vs := slices.Clone(o.variants)
	o.mu.Unlock()
	for _, v := range vs {
		if v.Level > Machine() {
			continue
		}
		f(v)
		o.mu.Lock()
		o.tested[v.Level] = true
		o.mu.Unlock()
	}
}

func (o *Op[T]) list() []Info {
	best := o.Best().Level
	o.mu.Lock()
	defer o.mu.Unlock()
	infos := make([]Info, 0, len(o.variants))
	for _, v := range o.variants {
		infos = append(infos, Info{
			Op: o.name, Variant: v.Name(), Available: v.Level <= Machine(),
			Selected: v.Level == best, tested: o.tested[v.Level],
		})
	}
	return infos
}

// Info describes a registered variant.
type Info struct {
	Op        string
	Variant   string
	Available bool // the machine can run it
	Selected  bool // it is the one that Best gives
	tested    bool
}

var registry ops

type ops struct {
	mu  sync.Mutex
	all []interface{ list() []Info }
}

func (r *ops) add(o interface{ list() []Info }) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, o)
}

// List is every registered variant, by operator and then by level.
func List() []Info {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	var infos []Info
	for _, o := range registry.all {
		infos = append(infos, o.list()...)
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return cmp.Compare(a.Op, b.Op) })
	return infos
}

// Untested is the variants that this machine can run and that no ForTest has reached. A package with
// variants fails its tests if there are any.
func Untested() []string {
	var names []string
	for _, i := range List() {
		if i.Available && !i.tested {
			names = append(names, i.Op+"/"+i.Variant)
		}
	}
	return names
}
