package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/rtprelay"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// serve runs one relay, prints the ports of its calls, and ends with its standard input.
func serve(role string, sessions int) {
	for i := range sessions {
		a, b := port(role, i)
		fmt.Println(a, b)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

var embedded = &rtprelay.Embedded{Interfaces: []rtprelay.Interface{{Addr: loopback, Low: 12000, High: 29999}}, LatchAny: true}

// port sets up call i and says where its parties send.
func port(role string, i int) (a, b int) {
	if role == "plain" {
		return plain()
	}
	ctx := context.Background()
	r := rtprelay.Ref{CallID: fmt.Sprint("bench", i), FromTag: "f", ToTag: "t"}
	sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
	o, err := embedded.Offer(ctx, rtprelay.Params{Ref: r, SDP: sdp, Source: loopback})
	if err != nil {
		log.Fatal(err)
	}
	n, err := embedded.Answer(ctx, rtprelay.Params{Ref: r, SDP: sdp, Source: loopback})
	if err != nil {
		log.Fatal(err)
	}
	return mediaPort(n.SDP), mediaPort(o.SDP)
}

func mediaPort(sdp string) int {
	_, m, _ := strings.Cut(sdp, "m=audio ")
	p, _, _ := strings.Cut(m, " ")
	n, err := strconv.Atoi(p)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

// plain is the simplest relay there can be: two sockets, two goroutines, the last source is the destination.
func plain() (a, b int) {
	left, right := listen(), listen()
	var peers [2]netip.AddrPort // each is written by one goroutine and read by the other: good enough for a baseline
	pump := func(in, out *net.UDPConn, own, other *netip.AddrPort) {
		buf := make([]byte, 2048)
		for {
			n, from, err := in.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if *own != from {
				*own = from
			}
			if other.IsValid() {
				_, _ = out.WriteToUDPAddrPort(buf[:n], *other)
			}
		}
	}
	go pump(left, right, &peers[0], &peers[1])
	go pump(right, left, &peers[1], &peers[0])
	return left.LocalAddr().(*net.UDPAddr).Port, right.LocalAddr().(*net.UDPAddr).Port
}

func listen() *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// startRTPEngine runs Debian's rtpengine without its kernel module and sets the calls up over its RTPProxy port.
func startRTPEngine(sessions int) (*relay, error) {
	bin, err := exec.LookPath("rtpengine")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rtpbench")
	if err != nil {
		return nil, err
	}
	const control = "127.0.0.1:23924"
	cmd := exec.Command(bin, "--config-file=none", "--table=-1", "--interface=127.0.0.1", "--listen-ng=127.0.0.1:23923",
		"--listen-udp="+control, "--port-min=12000", "--port-max=29999", "--foreground", "--log-stderr", "--log-level=3",
		"--pidfile="+dir+"/pid", "--timeout=600", "--num-threads=2")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &relay{pid: cmd.Process.Pid, cmd: cmd, end: func() { _ = os.RemoveAll(dir) }}
	c, err := net.Dial("udp", control)
	if err == nil {
		defer func() { _ = c.Close() }()
		for i := range sessions {
			var l leg
			if l.b, err = ask(c, fmt.Sprintf("u%d U bench%d 127.0.0.1 9 f;1", i, i)); err == nil {
				l.a, err = ask(c, fmt.Sprintf("l%d L bench%d 127.0.0.1 9 f;1 t;1", i, i))
			}
			if err != nil {
				break
			}
			r.legs = append(r.legs, l)
		}
	}
	if err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// ask sends a command until it is answered: the daemon may not listen yet.
func ask(c net.Conn, command string) (int, error) {
	buf := make([]byte, 512)
	for range 50 {
		_, _ = c.Write([]byte(command))
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Read(buf)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		words := strings.Fields(string(buf[:n]))
		if len(words) > 1 && strings.HasPrefix(command, words[0]+" ") {
			return strconv.Atoi(words[1])
		}
	}
	return 0, fmt.Errorf("no answer to %q", command)
}

// cpuTime is the user and system time of a process; the clock tick of /proc is 10 ms on Linux.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

func memory(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n * os.Getpagesize()
}
