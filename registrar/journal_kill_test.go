package registrar

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// childDir names the directory to a child process of TestJournalKill.
const childDir = "SIPKIT_JOURNAL_CHILD"

const killUpdates, killWorkers = 100_000, 4

// A process killed with SIGKILL in the middle of 100,000 Updates has lost none that it acknowledged. The child prints each
// number when its Update has returned; snapshots are made meanwhile.
func TestJournalKill(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		registerAll(t, dir)
		return
	}
	t.Parallel()
	for _, after := range []int{1, 5_000, 50_000, 90_000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acknowledged := runAndKill(t, dir, after)
			require.GreaterOrEqual(t, len(acknowledged), after)
			j := mustOpen(t, dir, JournalConfig{})
			for _, i := range acknowledged {
				bs, err := j.Lookup(t.Context(), AOR(fmt.Sprint(i%20_000, "@x")))
				require.NoError(t, err)
				require.Len(t, bs, 1, "lost %d of %d", i, len(acknowledged))
				require.GreaterOrEqual(t, bs[0].CSeq, uint32(i))
			}
			for _, d := range j.Stats().Damage {
				require.True(t, d.Torn, "%v", d)
			}
		})
	}
}

func registerAll(t *testing.T, dir string) {
	j, err := OpenJournal(dir, JournalConfig{CompactAt: 1 << 20})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for w := range killWorkers {
		wg.Go(func() {
			for i := w; i < killUpdates; i += killWorkers {
				set(t, j, fmt.Sprint(i%20_000, "@x"), uint32(i))
				fmt.Fprintf(os.Stderr, "%d\n", i) // unbuffered, unlike what the testing package does with Stdout
			}
		})
	}
	wg.Wait()
	select {} // until killed
}

func runAndKill(t *testing.T, dir string, after int) (acknowledged []int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestJournalKill$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var i int
		if _, err := fmt.Sscan(lines.Text(), &i); err != nil {
			t.Log(lines.Text())
			continue
		}
		acknowledged = append(acknowledged, i)
		if len(acknowledged) >= after && !killed {
			killed = true
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait())
	return acknowledged
}
