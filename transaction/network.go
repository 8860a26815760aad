package transaction

import (
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A network is what this package wants of a transport.Layer and its flows; tests bring their own.
type network interface {
	send(f transport.Flow, m sip.Message, s transport.Sink) error
	sendRaw(f transport.Flow, b []byte, s transport.Sink) error
	forget(f transport.Flow, s transport.Sink)
	reliable(f transport.Flow) bool
	replyFlow(f transport.Flow, top sip.Via) transport.Flow
	wrote(f transport.Flow, host string, port uint16) bool
	again(f transport.Flow) transport.Flow
	hold()
	flush()
	alarm(f func()) transport.Alarm
}

// realNetwork is a network of a transport.Layer, which is nil in a Layer that sends nothing.
type realNetwork struct{ *transport.Layer }

func (realNetwork) send(f transport.Flow, m sip.Message, s transport.Sink) error {
	if f.IsZero() {
		return transport.ErrNoAddress
	}
	return f.Send(m, s)
}

func (realNetwork) sendRaw(f transport.Flow, b []byte, s transport.Sink) error {
	if f.IsZero() {
		return transport.ErrNoAddress
	}
	return f.SendRaw(b, s)
}

func (realNetwork) forget(f transport.Flow, s transport.Sink) {
	if !f.IsZero() {
		f.Forget(s)
	}
}

func (realNetwork) reliable(f transport.Flow) bool { return !f.IsZero() && f.Proto().Reliable() }

func (n realNetwork) replyFlow(f transport.Flow, top sip.Via) transport.Flow {
	if n.Layer == nil {
		return f
	}
	return n.ReplyFlow(f, top)
}

func (n realNetwork) wrote(f transport.Flow, host string, port uint16) bool {
	if n.Layer == nil || f.IsZero() {
		return true
	}
	ourHost, ourPort := f.SentBy()
	return host == ourHost && port == ourPort || n.IsLocal(host, port, 0)
}

// again is f, or a new flow to the same peer when f is a connection that broke.
func (n realNetwork) again(f transport.Flow) transport.Flow {
	if n.Layer == nil || f.IsZero() || f.Alive() {
		return f
	}
	if g, err := n.FlowTo(f.Remote(), transport.Flow{}); err == nil {
		return g
	}
	return f
}

func (n realNetwork) alarm(f func()) transport.Alarm {
	if n.Layer == nil {
		return transport.RuntimeAlarm(f)
	}
	return n.NewAlarm(f)
}

func (n realNetwork) hold() {
	if n.Layer != nil {
		n.Hold()
	}
}

func (n realNetwork) flush() {
	if n.Layer != nil {
		n.Flush()
	}
}
