package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sipkit/sipkit/internal/programs"
)

// The programs under test, built once.
var balancer, registrarProgram, relayProgram string

func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	sweepNamespaces()
	build := exec.Command("go", "build", "-o", dir, "../examples/loadbalancer", "../examples/registrar", "../examples/rtprelay")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	balancer, registrarProgram, relayProgram = filepath.Join(dir, "loadbalancer"), filepath.Join(dir, "registrar"), filepath.Join(dir, "rtprelay")
	return m.Run()
}

func need(t *testing.T, names ...string) {
	t.Helper()
	programs.Need(t, names...)
}
