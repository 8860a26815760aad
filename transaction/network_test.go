package transaction

import (
	"sync"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A fakeNetwork records what would be sent. All its flows are the zero Flow.
type fakeNetwork struct {
	stream bool // answers for a reliable transport
	mu     sync.Mutex
	err    error    // what sending returns
	sent   []string // messages in order
	sinks  map[transport.Sink]int
	held   int
	quiet  bool // records nothing: benchmarks
	onSend func(string)
}

func (n *fakeNetwork) send(_ transport.Flow, m sip.Message, s transport.Sink) error {
	if n.quiet {
		return nil
	}
	return n.record(m.String(), s)
}

func (n *fakeNetwork) sendRaw(_ transport.Flow, b []byte, s transport.Sink) error {
	if n.quiet {
		return nil
	}
	return n.record(string(b), s)
}

func (n *fakeNetwork) record(text string, s transport.Sink) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return n.err
	}
	n.sent = append(n.sent, text)
	if s != nil {
		if n.sinks == nil {
			n.sinks = map[transport.Sink]int{}
		}
		n.sinks[s]++
	}
	if n.onSend != nil {
		n.onSend(text)
	}
	return nil
}

func (n *fakeNetwork) forget(_ transport.Flow, s transport.Sink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sinks, s)
}

func (n *fakeNetwork) reliable(transport.Flow) bool { return n.stream }

func (n *fakeNetwork) again(f transport.Flow) transport.Flow { return f }

func (n *fakeNetwork) wrote(_ transport.Flow, host string, _ uint16) bool { return host != foreignHost }

// foreignHost is a sent-by that no layer of these tests writes.
const foreignHost = "foreign.example"

func (n *fakeNetwork) replyFlow(f transport.Flow, _ sip.Via) transport.Flow { return f }

func (n *fakeNetwork) alarm(f func()) transport.Alarm { return transport.RuntimeAlarm(f) }

func (n *fakeNetwork) hold() {
	n.mu.Lock()
	n.held++
	n.mu.Unlock()
}

func (n *fakeNetwork) flush() {
	n.mu.Lock()
	n.held--
	n.mu.Unlock()
}

// take returns what was sent since the last call.
func (n *fakeNetwork) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sent
	n.sent = nil
	return s
}

// fail sets what sending returns from now on.
func (n *fakeNetwork) fail(err error) {
	n.mu.Lock()
	n.err = err
	n.mu.Unlock()
}
