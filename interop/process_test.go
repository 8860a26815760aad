package interop

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/internal/sipp"
)

// A process is a proxy under test or its neighbour.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu   sync.Mutex
	text strings.Builder
	line chan string // lines until somebody stops asking
}

// launch starts a program that ends with the test.
func launch(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), line: make(chan string, 100)}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start())
	var reader sync.WaitGroup
	reader.Go(func() { p.read(r) })
	t.Cleanup(func() {
		p.stop()
		_ = w.Close()
		reader.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.output())
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
		p.mu.Unlock()
		select {
		case p.line <- s.Text():
		default:
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line beyond the buffer: the program must not block
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// stop ends the process group, gently and then not.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	pid := p.cmd.Process.Pid
	_ = syscall.Kill(pid, syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
	defer kill.Stop()
	_ = p.cmd.Wait() // how it ended is the business of whoever looks at ProcessState
}

// kill ends it without a word.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(p.cmd.Process.Pid, s) }

// await gives the rest of the first line that begins so.
func (p *process) await(prefix string) string {
	p.t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case l := <-p.line:
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				return rest
			}
		case <-end:
			require.Fail(p.t, "no line "+prefix, p.output())
		}
	}
}

// A proxy is a running load balancer of ours.
type proxy struct {
	*process
	udp, tcp string // where it listens
}

// balance starts the load balancer with a trace of its messages.
func balance(t *testing.T, args ...string) proxy {
	t.Helper()
	args = append([]string{"-trace", "-drain", "100ms", "-listen", "udp:127.0.0.1:0", "-listen", "tcp:127.0.0.1:0"}, args...)
	p := proxy{process: launch(t, balancer, args...)}
	p.udp = strings.TrimPrefix(p.await("listening on "), "udp:")
	p.tcp = strings.TrimPrefix(p.await("listening on "), "tcp:")
	return p
}

func (p proxy) addr(tcp bool) string {
	if tcp {
		return p.tcp
	}
	return p.udp
}

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := sipp.Port("127.0.0.1")
	require.NoError(t, err)
	return addr
}
