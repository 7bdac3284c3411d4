// Bench measures nsinspect on a large host: it makes one, with thousands of
// processes in hundreds of cgroup namespaces, in a PID namespace of its own, and
// times whole processes there, beside what people use today and beside the
// least that any such tool could do. It is no part of the tool.
//
//	bench                          measure, and print the tables
//	bench -doc FILE                put them into FILE too, between its markers
//	bench -n 10000 -- COMMAND...   make one farm and run a command there
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// stages are what the program runs itself as, with one argument.
var stages = map[string]func(string) error{"host": hostStage, "leader": leaderStage, "floor": floorStage}

func dispatch(args []string) error {
	if len(args) == 2 {
		if stage, ok := stages[args[0]]; ok {
			return stage(args[1])
		}
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("it takes root to make cgroups and namespaces")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return o.run(ctx)
}

// options are the command line.
type options struct {
	job
	sizes []int
	kinds []bool // stale or not
	doc   string
}

func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := flags.String("n", "1000,5000,10000,20000", "numbers of processes")
	flags.IntVar(&o.Farm.K, "k", 500, "number of cgroup namespaces")
	flags.IntVar(&o.Runs, "runs", 9, "runs of each command, after one to warm up")
	farms := flags.String("farms", "healthy,stale", "kinds of farms")
	flags.StringVar(&o.Tool, "tool", "build/nsinspect", "the tool to measure")
	flags.StringVar(&o.doc, "doc", "", "put the tables into this file, between its markers")
	err := flags.Parse(args)
	if err != nil {
		return nil, err
	}
	o.Command = flags.Args()
	if o.Tool, err = filepath.Abs(o.Tool); err != nil {
		return nil, err
	}
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < o.Farm.K || o.Farm.K < 1 || o.Runs < 1 {
			return nil, fmt.Errorf("%s processes in %d namespaces, %d runs: each namespace takes a process, and each command a run", text, o.Farm.K, o.Runs)
		}
		o.sizes = append(o.sizes, n)
	}
	for _, kind := range strings.Split(*farms, ",") {
		if kind != "healthy" && kind != "stale" {
			return nil, fmt.Errorf("no farm is called %q: they are healthy and stale", kind)
		}
		o.kinds = append(o.kinds, kind == "stale")
	}
	return o, nil
}

// run makes one farm after the other.
func (o *options) run(ctx context.Context) error {
	r := report{job: o.job}
	for _, stale := range o.kinds {
		for _, n := range o.sizes {
			j := o.job
			j.Farm.N, j.Farm.Stale = n, stale
			m, err := j.do(ctx)
			if ctx.Err() != nil {
				return errors.Join(errors.New("interrupted"), err)
			}
			if err != nil {
				return err
			}
			if m != nil {
				r.farms = append(r.farms, *m)
			}
		}
	}
	if len(o.Command) > 0 {
		return nil
	}
	text := r.text()
	fmt.Print(text)
	if o.doc == "" {
		return nil
	}
	return insert(o.doc, text)
}
