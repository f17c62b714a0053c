package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// plan is what to measure, as the flags say.
type plan struct {
	Buses     []int         `json:"buses"`
	Processes int           `json:"processes"`
	Servers   int           `json:"servers"`
	Shared    bool          `json:"shared"`
	Together  int           `json:"together"` // so many buses connect at a time; 0: all
	TTL       time.Duration `json:"ttl_ns"`
	Changes   int           `json:"changes"`
	Idle      time.Duration `json:"idle_ns"`
	Records   []int         `json:"records"`
	Timeout   time.Duration `json:"timeout_ns"`

	jsonFile, svgFile string
}

const manual = `Shows how every cost of rolebus grows with the number of nodes.

Usage:
  go run ./bench/fleet [flags]

It needs nothing but Go: it starts its own servers and buses, in processes of
their own, on this machine. Tables go to standard output, progress to standard
error. Ctrl-C ends it, leaves nothing running, and prints what was measured.
Exit status: 0, 1 if a size could not be measured, 2 for a wrong flag, 130 after
Ctrl-C.

Flags:
  -buses LIST       how many real buses, one fleet after another
                    (default 10,30,100,300,1000; "" for none)
  -processes M      spread the buses of a fleet over M processes (default 1)
  -servers N        1, or 3 for a cluster with three replicas (default 1)
  -shared           all buses of a process share one connection; without it each
                    has its own
  -together N       so many buses connect at a time, in all (default: all). A
                    fleet that does not get up that way is started again, 10 at
                    a time, for the rest
  -ttl TIME         the lease; a heartbeat every third of it (default 15s)
  -changes N        how many changes of roles are timed, in fours (default 100),
                    for a minute at the most
  -idle TIME        how long a fleet is watched while nothing changes (default
                    15s), with probes and again without
  -records LIST     scopes that are simulated by their records alone
                    (default 1000,10000,100000; "" for none)
  -timeout TIME     the limit of each single step (default 3m)
  -json FILE        write everything that was measured, with this machine
  -svg FILE         write it as curves
  -quick            10 buses, 1,000 records, short times: ends in 20 seconds.
                    Other flags still count.
`

func parsePlan(args []string, stderr io.Writer) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, manual) }
	buses := flags.String("buses", "10,30,100,300,1000", "")
	records := flags.String("records", "1000,10000,100000", "")
	quick := flags.Bool("quick", false, "")
	flags.IntVar(&p.Processes, "processes", 1, "")
	flags.IntVar(&p.Servers, "servers", 1, "")
	flags.BoolVar(&p.Shared, "shared", false, "")
	flags.IntVar(&p.Together, "together", 0, "")
	flags.DurationVar(&p.TTL, "ttl", 15*time.Second, "")
	flags.IntVar(&p.Changes, "changes", 100, "")
	flags.DurationVar(&p.Idle, "idle", 15*time.Second, "")
	flags.DurationVar(&p.Timeout, "timeout", 3*time.Minute, "")
	flags.StringVar(&p.jsonFile, "json", "", "")
	flags.StringVar(&p.svgFile, "svg", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		hasten(flags)
	}
	var busesErr, recordsErr error
	p.Buses, busesErr = parseSizes("buses", *buses, 2, 10_000)
	p.Records, recordsErr = parseSizes("records", *records, 1, 1_000_000)
	return p, errors.Join(busesErr, recordsErr,
		check(flags.NArg() == 0, "%q: no arguments are taken, only flags: see -help", flags.Args()),
		check(p.Processes >= 1, "-processes %d: at least 1", p.Processes),
		check(p.Servers == 1 || p.Servers == 3, "-servers %d: 1 or 3", p.Servers),
		check(p.Together >= 0, "-together %d: at least 1, or 0 for all", p.Together),
		check(p.TTL >= time.Second, "-ttl %v: at least 1s", p.TTL),
		check(p.Changes >= 1, "-changes %d: at least 1", p.Changes),
		check(p.Idle >= time.Second, "-idle %v: at least 1s", p.Idle),
		check(p.Timeout >= time.Second, "-timeout %v: at least 1s", p.Timeout),
	)
}

// hasten makes the plan short where the flags do not say otherwise. A heartbeat must fall into the idle time.
func hasten(flags *flag.FlagSet) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"buses": "10", "records": "1000", "ttl": "3s", "idle": "3s", "changes": "20", "timeout": "30s",
	} {
		if !given[name] {
			if err := flags.Set(name, value); err != nil {
				panic(err) // a value of ours
			}
		}
	}
}

func parseSizes(name, list string, least, most int) ([]int, error) {
	sizes := []int{}
	if strings.TrimSpace(list) == "" {
		return sizes, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("-%s %q: numbers from %d to %d with commas between them", name, list, least, most)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
