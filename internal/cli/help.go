package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	groupOf   = "vitrine_group"
	typedOnly = "vitrine_typed_only"
	helpWidth = 98
)

// Group adds to fs the flags that define makes, under one heading of the help.
func Group(fs *pflag.FlagSet, heading string, define func(fs *pflag.FlagSet)) {
	group := pflag.NewFlagSet(heading, pflag.ContinueOnError)
	group.SortFlags = false
	define(group)
	group.VisitAll(func(f *pflag.Flag) {
		annotate(f, groupOf, heading)
		fs.AddFlag(f)
	})
}

// TypedOnly marks a flag that neither the environment nor the file sets.
func TypedOnly(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		annotate(fs.Lookup(name), typedOnly, "true")
	}
}

func annotate(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

// Help writes a command's help: what it does, how to call it, its subcommands, its flags by group with
// units, defaults and variables, and examples. It is a cobra help function.
func Help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(w, "%s\n\nUsage:\n", strings.TrimSpace(text))
	if cmd.Runnable() {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s <command>\n\nCommands:\n", cmd.CommandPath())
		writeCommands(w, cmd.Commands())
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	writeFlags(w, cmd)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n`%s <command> --help` tells more.\n", cmd.CommandPath())
	}
}

func writeCommands(w io.Writer, commands []*cobra.Command) {
	width := 12
	for _, c := range commands {
		width = max(width, len(c.Name()))
	}
	for _, c := range commands {
		if c.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-*s %s\n", width, c.Name(), c.Short)
		}
	}
}

func writeFlags(w io.Writer, cmd *cobra.Command) {
	var headings []string
	groups := map[string][]*pflag.Flag{}
	add := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		heading := "Other"
		if g := f.Annotations[groupOf]; len(g) == 1 {
			heading = g[0]
		}
		if groups[heading] == nil {
			headings = append(headings, heading)
		}
		groups[heading] = append(groups[heading], f)
	}
	fs := cmd.Flags() // those of parents come last: cobra adds them when it parses
	fs.SortFlags = false
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			add(f)
		}
	})
	for _, h := range headings {
		fmt.Fprintf(w, "\n%s:\n", h)
		for _, f := range groups[h] {
			writeFlag(w, f)
		}
	}
}

// writeFlag writes a flag and what it takes on one line, its text below it, its default and variable last.
func writeFlag(w io.Writer, f *pflag.Flag) {
	placeholder, usage := pflag.UnquoteUsage(f)
	head := "  --" + f.Name
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + f.Name
	}
	if placeholder != "" {
		head += " " + placeholder
	}
	var notes []string
	if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
		notes = append(notes, "default "+f.DefValue)
	}
	if Bindable(f) {
		notes = append(notes, "$"+EnvName(f.Name))
	}
	if len(notes) > 0 {
		usage += " [" + strings.Join(notes, ", ") + "]"
	}
	fmt.Fprintf(w, "%s\n%s", head, wrap(usage, 8))
}

// wrap breaks text into lines of at most helpWidth columns, each indented.
func wrap(text string, indent int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+len(word) > helpWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
	return b.String()
}
