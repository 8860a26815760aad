package sipp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Port finds a port of a loopback address that is free for UDP and TCP, another at each call. It lies below the range from which the system takes the ports of
// clients, and below that of media relays: one of those would be given away again before the program that is to have it has started.
func Port(host string) (string, error) {
	for range 1000 {
		n := firstPort + (uint32(os.Getpid())*7919+ports.Add(1))%portCount
		addr := fmt.Sprintf("%s:%d", host, n)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return addr, nil
		}
	}
	return "", fmt.Errorf("sipp: no free port on %s", host)
}

const (
	firstPort = 6100
	portCount = 3800
)

// ports counts the ports given out by this process.
var ports atomic.Uint32

// Listening waits, at most 10 s, until a program listens on an IPv4 address. It asks the kernel: a datagram would be taken for a message.
func Listening(ctx context.Context, addr string, tcp bool) error {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	table, state := "/proc/net/udp", " 07 "
	if tcp {
		table, state = "/proc/net/tcp", " 0A "
	}
	b := a.Addr().As4()
	want := fmt.Sprintf(": %08X:%04X ", binary.NativeEndian.Uint32(b[:]), a.Port())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(table)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, want) && strings.Contains(line, state) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sipp: nobody listens on %s", addr)
		case <-tick.C:
		}
	}
}
