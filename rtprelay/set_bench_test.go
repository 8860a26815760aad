package rtprelay_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/rtprelay/internal/rtpstub"
)

// BenchmarkSetHanging measures how long an offer at the healthy members takes while one of four is healthy, or hangs with calls waiting
// for it all the time. p99-us is to be the same.
func BenchmarkSetHanging(b *testing.B) {
	for _, hanging := range []bool{false, true} {
		b.Run(fmt.Sprintf("hanging=%v", hanging), func(b *testing.B) {
			s := &rtprelay.Set{}
			for i := range 4 {
				pc, err := net.ListenPacket("udp", "127.0.0.1:0")
				require.NoError(b, err)
				defer func() { _ = pc.Close() }()
				r := &rtpstub.Relay{}
				if hanging && i == 0 {
					r.Fault = func(c string) (string, bool) { return "-", strings.HasPrefix(c, "U") } // answers probes, so it comes back in again and again
				}
				go r.ServeUDP(pc, nil)
				s.Members = append(s.Members, rtprelay.Member{Name: fmt.Sprint(i), Engine: &rtprelay.RTPProxy{Address: "udp:" + pc.LocalAddr().String()}})
			}
			defer func() { _ = s.Close() }()
			names, _ := fakeSet(4)
			for i := range names.Members {
				names.Members[i].Name = fmt.Sprint(i)
			}
			var healthy, sick []string
			for i := 0; len(healthy) < 300 || len(sick) < 50; i++ {
				call := fmt.Sprint("call", i)
				res, err := names.Offer(context.Background(), params(call, sdpA))
				require.NoError(b, err)
				if res.Node == "0" {
					sick = append(sick, call)
				} else {
					healthy = append(healthy, call)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := 0; ctx.Err() == nil; i++ {
					go func() { _, _ = s.Offer(ctx, params(sick[i%len(sick)], sdpA)) }()
					select {
					case <-time.After(10 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				call := params(healthy[i%len(healthy)], sdpA)
				start := time.Now()
				_, err := s.Offer(ctx, call)
				took = append(took, time.Since(start))
				require.NoError(b, err)
				require.NoError(b, s.Delete(ctx, call.Ref))
			}
			cancel()
			<-done
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		})
	}
}
