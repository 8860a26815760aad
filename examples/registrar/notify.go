package main

import (
	"net"
	"os"
	"strings"
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
