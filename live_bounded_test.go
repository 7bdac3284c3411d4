package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// manyThreads is a program with 30,000 threads, until its standard input ends.
func manyThreads() {
	const threads = 30_000
	debug.SetMaxThreads(2 * threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			time.Sleep(time.Hour)
		}()
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
}
