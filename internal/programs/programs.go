// Package programs is for tests that run programs of the system.
package programs

import (
	"os"
	"os/exec"
	"testing"
)

// Need skips a test one of whose programs is not installed. With CI set in the environment it fails instead.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}
