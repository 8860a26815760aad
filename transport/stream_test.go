package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

const tcpVia = "SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1"

// bubble runs f in virtual time with a server layer on 10.0.0.1:5060.
func bubble(t *testing.T, c Config, f func(t *testing.T, n *memNet, l *Layer, r *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		c.Net = n
		l, r := layer(t, c, "tcp:10.0.0.1:5060")
		f(t, n, l, r)
		require.NoError(t, l.Close())
	})
}

func (n *memNet) dial(t *testing.T, local string) net.Conn {
	c, err := n.Dial(context.Background(), "tcp", local, "10.0.0.1:5060")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	_, err := c.Write([]byte(s))
	require.NoError(t, err)
}

func isClosed(t *testing.T, c net.Conn) bool {
	t.Helper()
	if c.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return true
	}
	_, err := c.Read(make([]byte, 1))
	var ne net.Error
	return !(errors.As(err, &ne) && ne.Timeout())
}

func TestDialIsShared(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, server *Layer, r *recorder) {
		client, _ := layer(t, Config{Net: n}, "tcp:10.0.0.2:5060")
		defer func() { require.NoError(t, client.Close()) }()
		n.dialDelay = time.Second
		sink := newSink()
		for i := range 10 {
			f, err := client.FlowTo(server.Addrs()[0], Flow{})
			require.NoError(t, err)
			require.True(t, f.Alive())
			require.Equal(t, "10.0.0.2:5060", f.Local().AddrPort.String())
			if i == 0 {
				synctest.Wait()
				require.Zero(t, n.dials, "nothing is dialled before the first Send")
			}
			require.NoError(t, f.Send(mustRequest(t, options(tcpVia, i)), sink))
		}
		synctest.Wait()
		require.Empty(t, r.msgs)
		time.Sleep(time.Second)
		for i := range 10 {
			require.Equal(t, fmt.Sprintf("call-%d", i), r.next(t).request().CallID())
		}
		require.Equal(t, 1, n.dials)
		require.Empty(t, sink.errs)
	})
}

func TestDialFails(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, _ *recorder) {
		to := addr(t, "tcp:10.0.0.9:5060")
		f, err := l.FlowTo(to, Flow{})
		require.NoError(t, err)
		a, b, forgotten := newSink(), newSink(), newSink()
		n.dialDelay = time.Second // all of them wait for the one dial
		require.NoError(t, f.SendRaw([]byte("x"), a))
		require.NoError(t, f.SendRaw([]byte("x"), a))
		require.NoError(t, f.SendRaw([]byte("x"), b))
		require.NoError(t, f.SendRaw([]byte("x"), forgotten))
		f.Forget(forgotten)
		require.ErrorIs(t, <-a.errs, errRefused)
		require.ErrorIs(t, <-b.errs, errRefused)
		synctest.Wait()
		require.Empty(t, a.errs, "told once")
		require.Empty(t, forgotten.errs)
		require.False(t, f.Alive())
		require.ErrorIs(t, f.SendRaw([]byte("x"), a), ErrClosed)
		again, err := l.FlowTo(to, f)
		require.NoError(t, err)
		require.NotEqual(t, f, again)
		require.EqualValues(t, 1, l.Stats().DialFailed)

		n.dialDelay = time.Hour
		start := time.Now()
		require.NoError(t, again.SendRaw([]byte("x"), a))
		require.ErrorIs(t, <-a.errs, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestIdle(t *testing.T) {
	bubble(t, Config{Idle: time.Minute}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		time.Sleep(50 * time.Second)
		write(t, c, options(tcpVia, 1))
		in := r.next(t)
		time.Sleep(50 * time.Second)
		require.False(t, isClosed(t, c), "what was read counts")
		go func() { _, _ = io.Copy(io.Discard, c) }()
		sink := newSink()
		require.NoError(t, in.f.SendRaw([]byte("x"), sink))
		time.Sleep(50 * time.Second)
		require.True(t, in.f.Alive(), "what was written counts")
		time.Sleep(11 * time.Second)
		require.False(t, in.f.Alive())
		require.ErrorIs(t, <-sink.errs, ErrIdle)
		require.Zero(t, l.Stats().ConnsOpen)
	})
}

func TestUnusedConnectionGoes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, _ *recorder) {
		f, err := l.FlowTo(addr(t, "tcp:10.0.0.9:5060"), Flow{})
		require.NoError(t, err)
		require.EqualValues(t, 1, l.Stats().ConnsOpen)
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		require.False(t, f.Alive())
		require.Zero(t, l.Stats().ConnsOpen)
		require.Zero(t, n.dials)
	})
}

func TestConnectionLimits(t *testing.T) {
	bubble(t, Config{Connections: 3, ConnectionsPerIP: 2}, func(t *testing.T, n *memNet, l *Layer, _ *recorder) {
		a := n.dial(t, "10.0.0.3")
		time.Sleep(time.Second)
		b := n.dial(t, "10.0.0.3")
		synctest.Wait()
		over := n.dial(t, "10.0.0.3")
		synctest.Wait()
		require.True(t, isClosed(t, over), "nobody is idle")
		require.EqualValues(t, 1, l.Stats().ConnsRefused)
		time.Sleep(minIdle - time.Second)
		c := n.dial(t, "10.0.0.3")
		synctest.Wait()
		require.True(t, isClosed(t, a), "the longest idle of that address")
		require.False(t, isClosed(t, b))
		require.False(t, isClosed(t, c))
		d := n.dial(t, "10.0.0.4")
		time.Sleep(minIdle)
		e := n.dial(t, "10.0.0.5")
		synctest.Wait()
		require.True(t, isClosed(t, b), "the longest idle of all")
		for _, alive := range []net.Conn{c, d, e} {
			require.False(t, isClosed(t, alive))
		}
		s := l.Stats()
		require.EqualValues(t, 3, s.ConnsOpen)
		require.EqualValues(t, 2, s.ConnsEvicted)
		_, err := l.FlowTo(addr(t, "tcp:10.0.0.9:5060"), Flow{})
		require.NoError(t, err)
		_, err = l.FlowTo(addr(t, "tcp:10.0.0.10:5060"), Flow{})
		require.NoError(t, err)
		_, err = l.FlowTo(addr(t, "tcp:10.0.0.11:5060"), Flow{})
		require.ErrorIs(t, err, ErrTooMany)
	})
}

// A connection that never said anything makes room before a phone's, however long that has been quiet.
func TestPhonesKeepTheirConnections(t *testing.T) {
	bubble(t, Config{Connections: 3}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		phone := n.dial(t, "10.0.0.3")
		write(t, phone, options(tcpVia, 1))
		r.next(t)
		time.Sleep(minIdle)
		silent := []net.Conn{n.dial(t, "10.0.0.4"), n.dial(t, "10.0.0.4")}
		for range 10 {
			time.Sleep(minIdle)
			silent = append(silent, n.dial(t, "10.0.0.4"))
			synctest.Wait()
		}
		require.False(t, isClosed(t, phone))
		for i, c := range silent {
			require.Equal(t, i < 10, isClosed(t, c), i)
		}
		require.EqualValues(t, 10, l.Stats().ConnsEvicted)
		require.False(t, isClosed(t, n.dial(t, "10.0.0.5")))
		require.True(t, isClosed(t, n.dial(t, "10.0.0.5")), "refused while those that say nothing are too young to go")
		require.False(t, isClosed(t, phone))
	})
}

// Where the system allows fewer descriptors than Connections, the longest idle connection makes room as well.
func TestNoDescriptorLeft(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, _ *recorder) {
		a := n.dial(t, "10.0.0.3")
		time.Sleep(time.Second)
		b := n.dial(t, "10.0.0.4")
		n.noAccept <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		synctest.Wait()
		require.False(t, isClosed(t, a), "nobody is idle")
		time.Sleep(minIdle - time.Second)
		n.noAccept <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		synctest.Wait()
		require.True(t, isClosed(t, a), "the longest idle")
		require.False(t, isClosed(t, b))
		s := l.Stats()
		require.EqualValues(t, 2, s.AcceptFailed)
		require.EqualValues(t, 1, s.ConnsEvicted)
		require.EqualValues(t, 1, s.ConnsOpen)
	})
}

func TestQueueFull(t *testing.T) {
	bubble(t, Config{QueueBytes: 1000}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		write(t, c, options(tcpVia, 1))
		in := r.next(t)
		part := []byte(strings.Repeat("x", 400))
		require.NoError(t, in.f.SendRaw(part, nil))
		require.NoError(t, in.f.SendRaw(part, nil))
		require.ErrorIs(t, in.f.SendRaw(part, nil), ErrQueueFull)
		got, err := io.ReadFull(c, make([]byte, 800))
		require.NoError(t, err)
		require.Equal(t, 800, got)
		synctest.Wait()
		require.NoError(t, in.f.SendRaw(part, nil), "once it reads again")
		require.EqualValues(t, 1, l.Stats().QueueFull)
	})
}

func TestKeepalives(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		write(t, c, "\r\n"+options(tcpVia, 1)+"\r\n\r\n")
		r.next(t)
		b := make([]byte, 3)
		got, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "\r\n", string(b[:got]))
		require.EqualValues(t, 2, l.Stats().Keepalives)
		require.False(t, isClosed(t, c), "one answer")
	})
}

// Every ping is answered (RFC 5626 §4.4.1), and those that come at once with one write.
func TestManyPings(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		const pings = readSize / 4
		c := n.dial(t, "10.0.0.3")
		write(t, c, strings.Repeat("\r\n\r\n", pings))
		b := make([]byte, 2*pings)
		_, err := io.ReadFull(c, b)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("\r\n", pings), string(b))
		require.False(t, isClosed(t, c), "no more answers")
		require.EqualValues(t, pings, l.Stats().Keepalives)
		require.EqualValues(t, 1, l.Stats().Sent)
	})
}

func TestStreamFaults(t *testing.T) {
	t.Run("one bad message", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
			c := n.dial(t, "10.0.0.3")
			bad := strings.Replace(options(tcpVia, 1), "CSeq: 1 OPTIONS\r\n", "", 1)
			write(t, c, bad+options(tcpVia, 2))
			require.NotNil(t, r.next(t).m.Valid(sip.Limits{}))
			require.Equal(t, "call-2", r.next(t).request().CallID())
		})
	})
	t.Run("framing lost", func(t *testing.T) {
		h := newRecorder()
		h.serve = func(m sip.Message, f Flow) {
			if fault := m.Valid(sip.Limits{}); fault != nil {
				_ = f.Send(sip.NewResponse(m.(*sip.Request), fault.Code, fault.Reason, "t"), nil)
			}
		}
		bubble(t, Config{Handler: h}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
			c := n.dial(t, "10.0.0.3")
			bad := strings.Replace(options(tcpVia, 1), "Content-Length: 0", "Content-Length: 0\r\nContent-Length: 7", 1)
			go func() { _, _ = c.Write([]byte(bad + options(tcpVia, 2))) }()
			r.next(t)
			all, err := io.ReadAll(c)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(all), "SIP/2.0 400 "), string(all))
			synctest.Wait()
			require.Empty(t, r.msgs, "what follows is not a message")
			require.Zero(t, l.Stats().ConnsOpen)
		})
	})
	t.Run("no end", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
			c := n.dial(t, "10.0.0.3")
			go func() { _, _ = c.Write([]byte("OPTIONS sip:x SIP/2.0\r\nVia: " + strings.Repeat("x", 200000))) }()
			time.Sleep(2 * linger)
			require.Zero(t, l.Stats().ConnsOpen)
			require.EqualValues(t, 1, l.Stats().Malformed)
		})
	})
}

func TestBrokenConnectionTellsEverySink(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		go func() { _, _ = io.Copy(io.Discard, c) }()
		write(t, c, options(tcpVia, 1))
		in := r.next(t)
		a, b := newSink(), newSink()
		require.NoError(t, in.f.SendRaw([]byte("x"), a))
		require.NoError(t, in.f.SendRaw([]byte("x"), b))
		synctest.Wait()
		require.NoError(t, c.Close())
		synctest.Wait()
		require.ErrorIs(t, <-a.errs, io.EOF)
		require.ErrorIs(t, <-b.errs, io.EOF)
	})
}

// An answer to a request whose connection is gone leaves on a new one, to received and the sent-by port (§18.2.2).
func TestAnswerOnANewConnection(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		client, rc := layer(t, Config{Net: n}, "tcp:10.0.0.2:5070")
		defer func() { require.NoError(t, client.Close()) }()
		f, err := client.FlowTo(l.Addrs()[0], Flow{})
		require.NoError(t, err)
		require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/TCP c.example.com:5070;branch=z9hG4bK1", 1)), nil))
		in := r.next(t)
		v, err := in.request().Via()
		require.NoError(t, err)
		back := l.ReplyFlow(in.f, v)
		require.Equal(t, in.f.Remote(), back.Remote())
		require.NoError(t, f.Close())
		synctest.Wait()
		require.False(t, back.Alive())
		require.NoError(t, back.Send(sip.NewResponse(in.request(), 200, "", "t"), nil))
		got := rc.next(t)
		require.Equal(t, 200, got.m.(*sip.Response).Code)
		require.Equal(t, client.Addrs()[0], got.f.Local())

		// The same for a stateless proxy, which knows the Via only.
		to, err := l.ViaFlow(v, Flow{})
		require.NoError(t, err)
		require.Equal(t, "tcp:10.0.0.2:5070", to.Remote().String())
	})
}

func TestFindFlow(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		write(t, c, options(tcpVia, 1))
		in := r.next(t)
		f, ok := l.FindFlow(in.f.Local(), in.f.Remote())
		require.True(t, ok)
		require.Equal(t, in.f, f)
		_, ok = l.FindFlow(addr(t, "tcp:10.0.0.1:5061"), in.f.Remote())
		require.False(t, ok, "came to another port")
		same, err := l.FlowTo(in.f.Remote(), Flow{})
		require.NoError(t, err)
		require.Equal(t, in.f, same, "an accepted connection is used again")
		require.NoError(t, c.Close())
		synctest.Wait()
		_, ok = l.FindFlow(in.f.Local(), in.f.Remote())
		require.False(t, ok)
	})
}

func TestStreamReaderSurvives(t *testing.T) {
	release := make(chan struct{})
	h := newRecorder()
	h.serve = func(m sip.Message, _ Flow) {
		switch m.Head().CallID() {
		case "call-1":
			<-release
		case "call-2":
			runtime.Goexit()
		}
	}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		h = &recorder{serve: h.serve, msgs: make(chan got, 10), lost: make(chan unreachable), stalled: make(chan struct{}, 10)}
		n := newMemNet()
		l, r := layer(t, Config{Net: n, Handler: h, StallAfter: 5 * time.Millisecond}, "tcp:10.0.0.1:5060")
		c := n.dial(t, "10.0.0.3")
		start := time.Now()
		var all strings.Builder
		for i := range 5 {
			all.WriteString(options(tcpVia, i))
		}
		write(t, c, all.String())
		for _, want := range []string{"call-0", "call-3", "call-4"} {
			require.Equal(t, want, r.next(t).request().CallID())
		}
		require.LessOrEqual(t, time.Since(start), 10*time.Millisecond, "rescued within twice StallAfter")
		<-r.stalled
		close(release)
		require.Equal(t, "call-1", r.next(t).request().CallID())
		write(t, c, options(tcpVia, 9))
		require.Equal(t, "call-9", r.next(t).request().CallID())
		require.EqualValues(t, 1, l.Stats().Stalls)
		require.NoError(t, l.Close())
		require.Zero(t, l.held.Load())
	})
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *memNet, l *Layer, r *recorder) {
		c := n.dial(t, "10.0.0.3")
		write(t, c, options(tcpVia, 1))
		require.NoError(t, r.next(t).f.SendRaw([]byte("last words"), nil))
		done := make(chan string)
		go func() {
			time.Sleep(linger / 2)
			all, _ := io.ReadAll(c)
			done <- string(all)
		}()
		require.NoError(t, l.Close())
		require.Equal(t, "last words", <-done)
	})
}

func TestMemoryUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a, ra := layer(t, Config{Net: n}, "udp:10.0.0.1:5060")
		b, rb := layer(t, Config{Net: n}, "udp:10.0.0.2:5060")
		f, err := a.FlowTo(b.Addrs()[0], Flow{})
		require.NoError(t, err)
		require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/UDP h;branch=z9hG4bK1", 1)), nil))
		require.Equal(t, a.Addrs()[0], rb.next(t).f.Remote())
		f, err = a.FlowTo(addr(t, "udp:10.0.0.9:5060"), Flow{})
		require.NoError(t, err)
		require.NoError(t, f.SendRaw([]byte("x"), nil))
		u := receive(t, ra.lost)
		require.ErrorIs(t, u.err, ErrUnreachable)
		require.Equal(t, f.Remote(), u.to)
		require.Equal(t, "x", u.sent)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

func TestTCPSplitAndMerged(t *testing.T) {
	l, r := layer(t, Config{}, "tcp:127.0.0.1:0")
	c, err := net.Dial("tcp", l.Addrs()[0].AddrPort.String())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	body := strings.Replace(options(tcpVia, 1), "Content-Length: 0\r\n\r\n", "Content-Type: text/plain\r\nContent-Length: 40000\r\n\r\n"+strings.Repeat("b", 40000), 1)
	text := options(tcpVia, 0) + body + options(tcpVia, 2)
	for len(text) > 0 {
		n := min(1+rand.IntN(3000), len(text))
		write(t, c, text[:n])
		text = text[n:]
	}
	for i := range 3 {
		in := r.next(t)
		require.Equal(t, fmt.Sprintf("call-%d", i), in.request().CallID())
		require.Nil(t, in.m.Valid(sip.Limits{}))
	}
	require.Zero(t, l.Stats().Malformed)
}

// A peer that does not read gets a full queue and holds up nobody; what was taken arrives whole and in order.
func TestTCPSlowPeer(t *testing.T) {
	l, r := layer(t, Config{}, "tcp:127.0.0.1:0")
	c, err := net.Dial("tcp", l.Addrs()[0].AddrPort.String())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	write(t, c, options(tcpVia, 1))
	in := r.next(t)
	part := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), 50+i*37%5000) }
	const total = 1500
	done := make(chan error, 1)
	read := func() {
		buf := make([]byte, 50000)
		for i := range total {
			want := part(i)
			got := buf[:len(want)]
			_, err := io.ReadFull(c, got)
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("part %d is wrong", i)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}
	reading := false
	for i := 0; i < total; {
		err := in.f.SendRaw(part(i), nil)
		if err == nil {
			i++
			continue
		}
		require.ErrorIs(t, err, ErrQueueFull)
		if !reading {
			reading = true
			go read()
		}
		require.Empty(t, done)
		runtime.Gosched() // the peer reads now: soon there is room
	}
	require.True(t, reading, "the queue was full")
	require.NoError(t, receive(t, done))
	require.NotZero(t, l.Stats().QueueFull)
}

// FuzzStream: however the bytes come in pieces, the messages are the same.
func FuzzStream(f *testing.F) {
	f.Add([]byte(options(tcpVia, 1)+"\r\n\r\n"+options(tcpVia, 2)), uint64(1))
	f.Add([]byte("\r\n"+options(tcpVia, 1)+"rubbish\r\n\r\n"), uint64(7))
	f.Add([]byte(strings.Replace(options(tcpVia, 1), "Length: 0\r\n\r\n", "Length: 5\r\n\r\nhello", 1)), uint64(3))
	f.Add([]byte(strings.Replace(options(tcpVia, 1), "Length: 0", "Length: -1", 1)), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		whole := streamMessages(t, data, func() int { return len(data) })
		rnd := rand.New(rand.NewPCG(seed, 1))
		require.Equal(t, whole, streamMessages(t, data, func() int { return 1 + rnd.IntN(60) }))
	})
}

func streamMessages(t *testing.T, data []byte, size func() int) (out []string) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		h := &recorder{msgs: make(chan got, len(data)+1), lost: make(chan unreachable), stalled: make(chan struct{})}
		l, r := layer(t, Config{Net: n, Handler: h, Limits: sip.Limits{MessageBytes: 2000}}, "tcp:10.0.0.1:5060")
		c, err := n.Dial(t.Context(), "tcp", "10.0.0.3", "10.0.0.1:5060")
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for len(data) > 0 {
			k := min(size(), len(data))
			if _, err := c.Write(data[:k]); err != nil {
				break
			}
			data = data[k:]
		}
		synctest.Wait()
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		close(r.msgs)
		for g := range r.msgs {
			out = append(out, g.m.String())
		}
	})
	return out
}
