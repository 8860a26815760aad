// Package sipp runs SIPp, the SIP traffic generator, with scenarios that work through a record-routing proxy. Interop tests and the
// whole-proxy benchmark share it.
package sipp

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed scenarios/*.xml
var scenarios embed.FS

// A Run is one SIPp process to start: a caller when Remote is set, else a callee.
type Run struct {
	Scenario string            // file name without .xml
	Replace  map[string]string // "@CODE@" and the like in the scenario
	Dir      string            // where files go
	Local    string            // host:port to listen on
	Remote   string            // host:port to call
	TCP      bool
	Calls    int
	Rate     int           // calls a second; 0: 10
	Pause    time.Duration // of the scenario's pauses
	Limit    time.Duration // the run fails beyond it; 30 s
	Users    int           // calls at once; 0: no bound
	Args     []string      // anything else
}

// A Process is a started SIPp.
type Process struct {
	name   string
	cmd    *exec.Cmd
	out    bytes.Buffer
	errors string // file
	done   chan error
}

// Start starts SIPp. It is killed when ctx ends.
func Start(ctx context.Context, r Run) (*Process, error) {
	dir, err := os.MkdirTemp(r.Dir, r.Scenario+"-")
	if err != nil {
		return nil, err
	}
	file, err := r.write(dir)
	if err != nil {
		return nil, err
	}
	p := &Process{name: r.Scenario, errors: filepath.Join(dir, "errors"), done: make(chan error, 1)}
	p.cmd = exec.CommandContext(ctx, "sipp", r.args(file, p.errors)...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "TERM=dumb")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

func (r Run) write(dir string) (file string, err error) {
	b, err := scenarios.ReadFile("scenarios/" + r.Scenario + ".xml")
	if err != nil {
		return "", err
	}
	text := string(b)
	for old, by := range r.Replace {
		text = strings.ReplaceAll(text, old, by)
	}
	file = filepath.Join(dir, "scenario.xml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

func (r Run) args(file, errorFile string) []string {
	host, port, _ := strings.Cut(r.Local, ":")
	transport := "u1"
	if r.TCP {
		transport = "t1"
	}
	limit := r.Limit
	if limit == 0 {
		limit = 30 * time.Second
	}
	rate := max(1, r.Rate)
	if r.Rate == 0 {
		rate = 10
	}
	args := []string{
		"-sf", file, "-i", host, "-p", port, "-t", transport, "-s", "100", "-m", strconv.Itoa(r.Calls), "-r", strconv.Itoa(rate),
		"-d", strconv.FormatInt(r.Pause.Milliseconds(), 10), "-timeout", strconv.Itoa(int(limit.Seconds())) + "s", "-timeout_error", "-nostdin",
		"-trace_err", "-error_file", errorFile,
	}
	if r.Users > 0 {
		args = append(args, "-l", strconv.Itoa(r.Users))
	}
	args = append(args, r.Args...)
	if r.Remote != "" {
		args = append(args, r.Remote)
	}
	return args
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Wait waits for the end. The error of a run with failed calls holds what SIPp said about them.
func (p *Process) Wait() error {
	err := <-p.done
	p.done <- err
	if err == nil {
		return nil
	}
	said, _ := os.ReadFile(p.errors) // often absent
	return fmt.Errorf("sipp %s: %w\n%s\n%s", p.name, err, head(said, 2000), tail(p.out.Bytes(), 2500))
}

// Kill ends the process and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.Wait()
}

func head(b []byte, n int) []byte { return b[:min(len(b), n)] }

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Call runs a caller and its callees until all are done; the callees are listening when the caller starts. Errors are joined.
func Call(ctx context.Context, caller Run, callees ...Run) error {
	var started []*Process
	defer func() {
		for _, p := range started {
			p.Kill()
		}
	}()
	for _, r := range callees {
		p, err := Start(ctx, r)
		if err != nil {
			return err
		}
		started = append(started, p)
		if err := Listening(ctx, r.Local, r.TCP); err != nil {
			p.Kill()
			return errors.Join(err, p.Wait())
		}
	}
	p, err := Start(ctx, caller)
	if err != nil {
		return err
	}
	started = append(started, p)
	errs := []error{p.Wait()}
	if errs[0] != nil {
		return errs[0]
	}
	for _, p := range started[:len(callees)] {
		errs = append(errs, p.Wait())
	}
	return errors.Join(errs...)
}
