package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// print writes the diagnosis for people.
func (d *diagnosis) print(w io.Writer) error {
	fmt.Fprintf(w, "Machine    %s, Linux %s\n", orUnknown(d.OS), orUnknown(d.Kernel))
	p := d.Processor
	fmt.Fprintf(w, "Processor  %s, %d usable\n", orUnknown(p.Name), p.Cores)
	fmt.Fprintf(w, "           kernels %s%s; AMX %s\n", p.Selected, forced(p.Level, p.Selected), p.AMX)
	if p.Problem != "" {
		fmt.Fprintf(w, "           PROBLEM: %s\n", p.Problem)
	}
	if len(p.Features) > 0 {
		fmt.Fprintf(w, "           %s\n", strings.Join(p.Features, " "))
	}
	fmt.Fprintf(w, "Memory     %s, %s available%s\n", size(d.Memory.Total), size(d.Memory.Available), limited(d.Memory.Limit))
	d.printGPUs(w)
	if err := d.printLibraries(w); err != nil {
		return err
	}
	d.printPython(w)
	if err := d.printEngines(w); err != nil {
		return err
	}
	if d.Tuning != nil {
		if err := d.Tuning.print(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n--engine auto takes %s in %s: %s.\n(order: %s)\n", d.Auto.Engine, d.Auto.Precision, d.Auto.Reason, d.Auto.Order)
	return err
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func forced(machine, selected string) string {
	if machine == selected {
		return ""
	}
	return " (VITRINE_CPU; the machine offers " + machine + ")"
}

func size(n int64) string {
	if n <= 0 {
		return "unknown"
	}
	return cli.FormatBytes(n)
}

func limited(n int64) string {
	if n <= 0 {
		return ", no limit"
	}
	return ", limited to " + size(n) + " by the control group"
}

func (d *diagnosis) printGPUs(w io.Writer) {
	if len(d.GPUs) == 0 {
		why, _, _ := strings.Cut(d.NoGPU, ":")
		if why == "" {
			why = "the driver shows none"
		}
		fmt.Fprintf(w, "GPUs       none: %s\n", why)
		return
	}
	fmt.Fprintf(w, "GPUs       driver %s, CUDA up to %s\n", d.Driver, orUnknown(d.CUDA))
	for _, g := range d.GPUs {
		fmt.Fprintf(w, "           %d: %s, %s of %s in use", g.Index, g.Name, cli.FormatBytes(g.MemoryUsed), cli.FormatBytes(g.MemoryTotal))
		if g.Power != nil && g.PowerLimit != nil {
			fmt.Fprintf(w, ", %.0f of %.0f W", *g.Power, *g.PowerLimit)
		}
		if len(g.place.Processors) > 0 {
			fmt.Fprintf(w, ", %s", g.place)
		}
		if g.Temperature != nil {
			fmt.Fprintf(w, ", %.0f °C", *g.Temperature)
		}
		fmt.Fprintln(w)
	}
}

func (d *diagnosis) printLibraries(w io.Writer) error {
	t := newTable(w, "LIBRARY", "VERSION", "WHERE, OR HOW TO GET IT", "ADDS")
	for _, l := range d.Libraries {
		version, where := l.Version, l.Path
		if !l.Found {
			version, where = "missing", l.Install
		}
		t.row(l.Name, version, where, l.For)
	}
	return t.flush()
}

func (d *diagnosis) printPython(w io.Writer) {
	p := d.Python
	if p.Problem != "" {
		fmt.Fprintf(w, "\nPython     %s\n", p.Problem)
		return
	}
	fmt.Fprintf(w, "\nPython     %s (%s)", p.Version, p.Path)
	names := []string{}
	for name, version := range p.Packages {
		names = append(names, name+" "+version)
	}
	if slices.Sort(names); len(names) == 0 {
		names = []string{"none of torch, onnxruntime, openvino, numpy"}
	}
	fmt.Fprintf(w, ": %s\n", strings.Join(names, ", "))
}

func (d *diagnosis) printEngines(w io.Writer) error {
	t := newTable(w, "ENGINE", "PRECISION", "RUNS", "")
	for _, e := range d.Engines {
		runs := "no"
		if e.Runs {
			runs = "yes"
		}
		remark, _, _ := strings.Cut(e.Remark, "no shared library") // the JSON lists what was tried
		t.row(e.Engine, string(e.Precision), runs, strings.TrimRight(remark, " :("))
	}
	return t.flush()
}
