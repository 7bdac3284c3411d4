// Bench measures nsinspect on a large host: it makes one, with thousands of
// processes in hundreds of cgroup namespaces, in a PID namespace of its own, and
// times whole processes there, beside what people use today and beside the
// least that any such tool could do. It is no part of the tool.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) > 1 {
		if stage, ok := stages[os.Args[1]]; ok {
			exitOn(stage(os.Args[2:]))
			return
		}
	}
	exitOn(run())
}

// stages are what the program runs itself as.
var stages = map[string]func([]string) error{
	"host":   hostStage,
	"leader": leaderStage,
	"floor1": func([]string) error { return floorLinks() },
	"floor2": func([]string) error { return floorViews(false) },
	"floor3": func([]string) error { return floorViews(true) },
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	sizes := flag.String("n", "1000,5000,10000,20000", "numbers of processes")
	spaces := flag.Int("k", 500, "number of cgroup namespaces")
	runs := flag.Int("runs", 5, "runs of each command, after one to warm up")
	stale := flag.Bool("stale", false, "let all share one mount namespace, with stale mounts")
	binary := flag.String("binary", "build/nsinspect", "the tool")
	flag.Parse()
	if os.Geteuid() != 0 {
		return fmt.Errorf("it takes root to make cgroups and namespaces")
	}
	fmt.Println(machine())
	for _, size := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		if err := onHost(host{n: n, k: *spaces, runs: *runs, stale: *stale, binary: *binary}); err != nil {
			return err
		}
	}
	return nil
}
