// Package endtoend tests the program as a whole: the built binary on the host
// that the tests run on, and what it prints against its documents.
package endtoend

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary one of the tests' own programs where a test
// runs that.
func TestMain(m *testing.M) {
	testscript.Main(atHome{m}, map[string]func(){
		"unshare-threads": unshareThreads, "many-threads": manyThreads, "brief-threads": briefThreads, "measured": measured,
	})
}

// atHome runs tests in the project's own directory, where its documents and
// recorded hosts are.
type atHome struct{ *testing.M }

func (m atHome) Run() int {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}
