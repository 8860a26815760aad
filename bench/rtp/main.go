// Command rtp measures the CPU time that media relays need for one packet: the embedded relay, the plainest relay Go can write
// (a goroutine a socket), and rtpengine in user-space mode, in turns on one machine.
//
//	go run ./bench/rtp -sessions 400 -seconds 10 -rounds 3
//
// Every relay runs in a process of its own, whose user and system time is read from /proc. The sender is another process's worth of
// work and is not counted.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	role := flag.String("role", "", "internal: run as one relay")
	sessions := flag.Int("sessions", 400, "calls")
	seconds := flag.Int("seconds", 10, "length of one measurement")
	rounds := flag.Int("rounds", 3, "measurements of each relay")
	relays := flag.String("relays", "embedded,plain,rtpengine", "what to measure")
	flag.Parse()
	if *role != "" {
		serve(*role, *sessions)
		return
	}
	per := map[string][]float64{}
	names := strings.Split(*relays, ",")
	for range *rounds {
		for _, name := range names {
			r, err := measure(name, *sessions, time.Duration(*seconds)*time.Second)
			if err != nil {
				log.Printf("%s: %v", name, err)
				continue
			}
			fmt.Printf("%-10s %6.2f us/packet  sent %d lost %d  RSS %d MB\n", name, r.cpu, r.sent, r.sent-r.got, r.rss>>20)
			per[name] = append(per[name], r.cpu)
		}
	}
	base := median(per[names[0]])
	for _, name := range names {
		if m := median(per[name]); m > 0 {
			fmt.Printf("%-10s median %6.2f us/packet; %s is %.2f of it\n", name, m, names[0], base/m)
		}
	}
}

type result struct {
	cpu       float64 // microseconds a packet
	sent, got int
	rss       int
}

func measure(name string, sessions int, length time.Duration) (result, error) {
	relay, err := start(name, sessions)
	if err != nil {
		return result{}, err
	}
	defer relay.stop()
	traffic, err := newTraffic(relay.legs)
	if err != nil {
		return result{}, err
	}
	defer traffic.close()
	traffic.run(time.Second) // latches every port
	before, err := cpuTime(relay.pid)
	if err != nil {
		return result{}, err
	}
	sent, got := traffic.run(length)
	after, err := cpuTime(relay.pid)
	if err != nil {
		return result{}, err
	}
	return result{float64((after - before).Microseconds()) / float64(sent), sent, got, memory(relay.pid)}, nil
}

// relay is a running one; legs are the two ports of each call.
type relay struct {
	pid  int
	legs []leg
	cmd  *exec.Cmd
	end  func()
}

func (r *relay) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	if r.end != nil {
		r.end()
	}
}

func start(name string, sessions int) (*relay, error) {
	if name == "rtpengine" {
		return startRTPEngine(sessions)
	}
	cmd := exec.Command(os.Args[0], "-role", name, "-sessions", fmt.Sprint(sessions))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // closed with us: the child then ends
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &relay{pid: cmd.Process.Pid, cmd: cmd, end: func() { _ = in.Close() }}
	lines := bufio.NewScanner(out)
	for range sessions {
		if !lines.Scan() {
			r.stop()
			return nil, fmt.Errorf("it did not come up")
		}
		var l leg
		if _, err := fmt.Sscan(lines.Text(), &l.a, &l.b); err != nil {
			r.stop()
			return nil, err
		}
		r.legs = append(r.legs, l)
	}
	return r, nil
}
