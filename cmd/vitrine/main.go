// Command vitrine serves image embeddings and writes them to files.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
)

func main() {
	ctx, stop := interruptible(context.Background())
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are where a command writes: what was asked for to out, everything told on the way to err.
type streams struct{ out, err *os.File }

// interruptible returns a context that the first SIGINT or SIGTERM ends; the second ends the process.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		cancel(interrupted{s})
		s = <-signals
		fmt.Fprintf(os.Stderr, "%v again: stopping at once\n", s)
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return "stopped by signal: " + i.signal.String() }

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.As(err, new(partial)) {
		fmt.Fprintln(std.err, "vitrine: "+strings.TrimSpace(err.Error()))
		if cli.IsUsage(err) {
			fmt.Fprintln(std.err, "Try `vitrine --help`, or `--help` after a command.")
		}
	}
	return exitCode(err)
}

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "vitrine",
		Short: "Image embeddings from one binary",
		Long: `Vitrine turns images into OpenCLIP embeddings: as a server, or from a folder into a file.

A flag's value is what the command line says, else its VITRINE_ variable, else its key in the
file that --config names (YAML, first line ` + "`version: 1`" + `, keys are flag names), else its default.

` + exitHelp,
		Example: `  vitrine serve                                   # and then:
  curl --data-binary @photo.jpg localhost:8000/embed
  vitrine embed photos/ --output photos.parquet   # a folder into a vector file
  vitrine model inspect                           # what would be served`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetHelpFunc(cli.Help)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.Usage{Err: err} })
	root.PersistentFlags().SortFlags = false
	cli.Group(root.PersistentFlags(), "Every command", func(fs *pflag.FlagSet) {
		fs.String("config", "", "`FILE` with flag values, YAML; also $VITRINE_CONFIG")
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentPreRunE = bindFlags
	root.AddCommand(serveCommand(std), embedCommand(std), modelCommand(std), benchCommand(std), reportCommand(std), compareCommand(std),
		linkCommand(std), versionCommand(std))
	refuseUnknownArguments(root)
	return root
}

// refuseUnknownArguments makes a wrong number of arguments, and an unknown subcommand, a usage error.
func refuseUnknownArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return cli.Usage{Err: err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		refuseUnknownArguments(sub)
	}
}

// bindFlags gives the command's flags their values from the environment and the file.
func bindFlags(cmd *cobra.Command, _ []string) error {
	switch {
	case cmd.Name() == cobra.ShellCompRequestCmd, cmd.HasParent() && cmd.Parent().Name() == "completion":
		return nil
	}
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if env, ok := os.LookupEnv(cli.EnvName("config")); ok && !cmd.Flags().Changed("config") {
		path = env
	}
	all := allFlags(cmd.Root())
	b := cli.Binder{
		LookupEnv: os.LookupEnv,
		Known:     func(name string) bool { return all[name] },
		Flags:     keys(all),
	}
	return b.Bind(cmd.Flags(), path)
}

// allFlags are the flags of all commands that a file may set.
func allFlags(c *cobra.Command) map[string]bool {
	all := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, fs := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			fs.VisitAll(func(f *pflag.Flag) { all[f.Name] = all[f.Name] || cli.Bindable(f) })
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(c)
	return all
}

func keys(m map[string]bool) []string {
	var names []string
	for k, ok := range m {
		if ok {
			names = append(names, k)
		}
	}
	return names
}
