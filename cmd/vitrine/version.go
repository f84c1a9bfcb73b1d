package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// build says what this binary is made of.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	CPU      string `json:"cpu_level"`
	CPUs     int    `json:"cpus"`
}

// readBuild asks the binary itself: nothing has to be stamped into it when it is built.
func readBuild() build {
	b := build{
		Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPU: cpufeat.Machine().String(), CPUs: runtime.GOMAXPROCS(0),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

func (b build) String() string {
	s := "vitrine " + b.Version
	if b.Revision != "" {
		s += "\ncommit   " + b.Revision
		if b.Modified {
			s += " with changes"
		}
		s += " of " + b.Time
	}
	return s + fmt.Sprintf("\nbuilt by %s for %s\nkernels  %s, %d processors", b.Go, b.Platform, b.CPU, b.CPUs)
}

func versionCommand(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "What this binary is, and what the processor offers it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return writeJSON(std.out, readBuild())
			}
			_, err := fmt.Fprintln(std.out, readBuild())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cli.TypedOnly(c.Flags(), "json")
	return c
}

// writeJSON prints a value for programs, indented for people.
func writeJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
