package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// tell sends a line to the service manager (sd_notify(3)); without one it does nothing. A name that starts with '@' is an abstract socket, which
// package net understands too.
func (p *proxy) tell(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		p.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

// watchdog tells the service manager that the server is alive, twice in the time it gives (sd_watchdog_enabled(3)), until ctx ends. Stats takes the locks of
// the message path: a server that hangs in one says nothing any more, and is restarted.
func (p *proxy) watchdog(ctx context.Context) {
	limit, ok := watchdogLimit(os.Getenv, os.Getpid())
	if !ok {
		return
	}
	select {
	case <-p.server.Ready():
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(limit / 2)
	defer tick.Stop()
	for {
		_ = p.server.Stats()
		p.tell("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watchdogLimit is the silence after which the service manager takes the process for hung; false when it does not watch.
func watchdogLimit(env func(string) string, pid int) (time.Duration, bool) {
	if of := env("WATCHDOG_PID"); of != "" && of != strconv.Itoa(pid) {
		return 0, false
	}
	us, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64)
	if err != nil || us < 2 || us > int64(time.Hour*24*365/time.Microsecond) {
		return 0, false
	}
	return time.Duration(us) * time.Microsecond, true
}
