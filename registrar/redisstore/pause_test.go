package redisstore

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// pauseProcess stops p until the test ends.
func pauseProcess(t testing.TB, p *os.Process) {
	t.Helper()
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = p.Signal(syscall.SIGCONT) })
}
