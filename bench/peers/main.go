// Command peers does the same work with rolebus, with what one would take instead, and with the bare floor under it, side by
// side in one run, and prints one table.
//
//	cd bench/peers && go run .
//
// It is a module of its own, so that nobody who uses rolebus gets the peers' dependencies. It runs on Unix.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

func main() {
	process.Main(parts)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "peers: interrupted; nothing is left running")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	only      *regexp.Regexp
	runs      int
	quick     bool
	json, svg string
}

func parse(args []string, errs io.Writer) (options, error) {
	o := options{only: regexp.MustCompile("")}
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Func("only", "do only the works whose name matches this `regexp`", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	flags.IntVar(&o.runs, "runs", 3, "do everything so often; each number is the median over the `runs`")
	flags.BoolVar(&o.quick, "quick", false, "one run with tiny counts: shows that all works, measures nothing")
	flags.StringVar(&o.json, "json", "", "write the results and what they were measured on to this `file`")
	flags.StringVar(&o.svg, "svg", "", "draw the results into this `file`")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag: see --help", flags.Arg(0))
	}
	if o.runs < 1 || o.runs > 100 {
		return o, fmt.Errorf("-runs %d: give 1 to 100", o.runs)
	}
	if o.quick {
		o.runs = 1
	}
	if len(chosen(o)) == 0 {
		return o, fmt.Errorf("-only %q matches no work: see --help for their names", o.only)
	}
	return o, nil
}

func usage(flags *flag.FlagSet) {
	w := flags.Output()
	fmt.Fprint(w, "Does the same work with rolebus, with its peers and with the floor under all, side by side.\n"+
		"Progress goes to standard error, the table to standard output. Three runs take about ten minutes: use a machine that\n"+
		"does nothing else. Ctrl-C stops it, and everything that it started.\n\nWorks:\n")
	for _, work := range works {
		fmt.Fprintf(w, "  %-10s %s\n", work.name, work.about)
	}
	fmt.Fprint(w, "\nFlags:\n")
	flags.PrintDefaults()
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	o, err := parse(args, errs)
	if err != nil {
		return err
	}
	report := result.Report{Began: time.Now().UTC().Truncate(time.Second), Runs: o.runs, Quick: o.quick}
	report.Describe(modules...)
	if report.Rows, err = measure(ctx, o, errs); err != nil {
		return err
	}
	report.Seconds = time.Since(report.Began).Round(time.Second).Seconds()
	if err := show(out, o, &report); err != nil {
		return err
	}
	return errors.Join(save(o.json, report.WriteJSON), save(o.svg, report.WriteSVG))
}

func show(out io.Writer, o options, report *result.Report) error {
	fmt.Fprintf(out, "%s\n", report.Machine())
	if o.quick {
		fmt.Fprintln(out, "QUICK: a check that everything works; the numbers mean nothing.")
	} else {
		fmt.Fprintf(out, "Runs: %d. Each number is the median over the runs: of their medians, and of their 99th percentiles.\n", o.runs)
	}
	var about []result.About
	for _, work := range chosen(o) {
		about = append(about, result.About{Work: work.name, Text: work.about})
	}
	return result.Table(out, about, report.Rows)
}

func save(file string, write func(io.Writer) error) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
