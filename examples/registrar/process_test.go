package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/programs"
)

// beMain makes the test program the example itself, so that tests run real processes without building anything.
const beMain = "SIPKIT_EXAMPLE_REGISTRAR"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func need(t *testing.T, names ...string) {
	t.Helper()
	programs.Need(t, names...)
}

// A process is a program that a test started.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // the program has ended

	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed and replaced with each line
}

// launch starts a program, which ends with the test at the latest.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: cmd.Args[0], cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	go func() {
		p.read(out)
		_ = cmd.Wait() // how it ended is for whoever looks at ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.output())
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.text.WriteString(s.Text() + "\n")
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// stop ends the process, gently and then not.
func (p *process) stop() {
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, p.kill)
	defer kill.Stop()
	<-p.done
}

func (p *process) kill() { _ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) }

// await waits until the output holds a text, n times.
func (p *process) await(text string, n int) {
	p.t.Helper()
	end := time.After(time.Minute)
	for {
		p.mu.Lock()
		found, more := strings.Count(p.text.String(), text) >= n, p.more
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-p.done:
			require.FailNow(p.t, p.name+" ended without saying "+text, p.output())
		case <-end:
			require.FailNow(p.t, p.name+" does not say "+text, p.output())
		}
	}
}

// start runs the example and waits until it listens. It gives the addresses, without transport, in the order of -listen.
func start(t *testing.T, args ...string) (*process, []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-drain", "100ms"}, args...)...)
	cmd.Env = append(os.Environ(), beMain+"=1", "GORACE=atexit_sleep_ms=0") // programs built with -race sleep a second before they end
	p := launch(t, cmd)
	n := 0
	for _, a := range args {
		if a == "-listen" {
			n++
		}
	}
	p.await("listening on ", n)
	var addrs []string
	for line := range strings.Lines(p.output()) {
		if a, ok := strings.CutPrefix(line, "listening on "); ok {
			_, a, _ = strings.Cut(strings.TrimSpace(a), ":")
			addrs = append(addrs, a)
		}
	}
	return p, addrs
}
