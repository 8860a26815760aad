package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// leg holds the relay's ports: a is where the first party sends.
type leg struct{ a, b int }

const (
	interval = 20 * time.Millisecond
	slices4  = 4 // the calls are spread over the interval
)

// traffic speaks for both parties of every call. The parties share a few sockets: the relay sees one address a party nevertheless,
// because every call has ports of its own.
type traffic struct {
	legs   []leg
	conns  [2]*net.UDPConn
	got    chan int
	packet []byte
	seq    uint16
}

func newTraffic(legs []leg) (*traffic, error) {
	t := &traffic{legs: legs, packet: make([]byte, 172)}
	t.packet[0] = 0x80
	for i := range t.conns {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		_ = c.SetReadBuffer(8 << 20)
		t.conns[i] = c
	}
	return t, nil
}

func (t *traffic) close() {
	for _, c := range t.conns {
		_ = c.Close()
	}
}

// run sends 50 packets a second each way for every call, and counts what arrives.
func (t *traffic) run(length time.Duration) (sent, got int) {
	t.got = make(chan int)
	end := time.Now().Add(length)
	for _, c := range t.conns {
		_ = c.SetReadDeadline(end.Add(500 * time.Millisecond))
		go t.count(c)
	}
	tick := time.NewTicker(interval / slices4)
	for k := 0; time.Now().Before(end); k++ {
		if k%slices4 == 0 {
			t.seq++
		}
		sent += t.slice(k % slices4)
		<-tick.C
	}
	tick.Stop()
	return sent, <-t.got + <-t.got
}

func (t *traffic) slice(k int) int {
	n := 0
	binary.BigEndian.PutUint16(t.packet[2:], t.seq)
	binary.BigEndian.PutUint32(t.packet[4:], uint32(t.seq)*160)
	for i := k; i < len(t.legs); i += slices4 {
		binary.BigEndian.PutUint32(t.packet[8:], uint32(i+1))
		t.to(t.conns[0], t.legs[i].a)
		t.to(t.conns[1], t.legs[i].b)
		n += 2
	}
	return n
}

func (t *traffic) to(c *net.UDPConn, port int) {
	_, _ = c.WriteToUDPAddrPort(t.packet, netip.AddrPortFrom(loopback, uint16(port)))
}

func (t *traffic) count(c *net.UDPConn) {
	n, buf := 0, make([]byte, 2048)
	for {
		_, _, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			t.got <- n
			return
		}
		if err == nil {
			n++
		}
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
