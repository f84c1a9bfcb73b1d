package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/link"
)

// linkOptions are the flags of `vitrine link`.
type linkOptions struct {
	listen, to, spec string
}

func linkCommand(std streams) *cobra.Command {
	var o linkOptions
	c := &cobra.Command{
		Use:   "link --listen ADDRESS --to ADDRESS --link SPEC",
		Short: "Put a network between a client and a server",
		Long: `Link forwards TCP connections and delays, limits and jitters what flows, so that clients of other make
see a distant server on one machine. ` + "`vitrine bench --link`" + ` does the same without another process.

SPEC is a list such as rtt=40ms,bw=100mbit,jitter=5ms,window=10: the round trip's time, the rate of
each direction (shared by all connections), what is added to the delay at most, and the segments that
a connection may send before its first acknowledgement. Packets are never lost or reordered.`,
		Example: `  vitrine link --listen 127.0.0.1:9000 --to 127.0.0.1:8000 --link rtt=40ms,bw=100mbit
  curl --data-binary @photo.jpg localhost:9000/embed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLink(cmd.Context(), &o, std) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Link", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.listen, "listen", "", "`ADDRESS` that clients connect to; port 0 picks a free one and prints it")
		fs.StringVar(&o.to, "to", "", "`ADDRESS` of the server")
		fs.StringVar(&o.spec, "link", "", "`SPEC` of the network")
		cli.TypedOnly(fs, "listen", "to", "link")
	})
	completeValues(c)
	return c
}

func runLink(ctx context.Context, o *linkOptions, std streams) error {
	if o.listen == "" || o.to == "" || o.spec == "" {
		return cli.Usage{Err: errors.New("--listen, --to and --link are needed")}
	}
	if _, _, err := net.SplitHostPort(o.to); err != nil {
		return cli.Usage{Err: fmt.Errorf("--to %s: want HOST:PORT", o.to)}
	}
	l, err := link.Parse(o.spec)
	if err != nil {
		return cli.Usage{Err: fmt.Errorf("--link: %w", err)}
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	fmt.Fprintf(std.out, "linking %s to %s: %s\n", listener.Addr(), o.to, l.Spec)
	err = l.Proxy(ctx, listener, o.to)
	if errors.As(context.Cause(ctx), new(interrupted)) {
		return nil // it was asked to stop
	}
	return err
}
