package transaction_test

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A core is what sits on top of the transaction layer.
type core struct{ tx *transaction.Layer }

// ServeMessage answers every request with 501.
func (c *core) ServeMessage(m sip.Message, f transport.Flow) {
	switch m := m.(type) {
	case *sip.Response:
		c.tx.MatchResponse(m, f)
	case *sip.Request:
		if _, absorbed := c.tx.MatchRequest(m, f); absorbed || m.Method == sip.ACK {
			return
		}
		s, err := c.tx.NewServer(m, f, nil)
		if err != nil {
			return // a copy that came at the same time, or too many
		}
		_ = s.Respond(sip.NewResponse(m, 501, "", transaction.NewTag()))
	}
}

func (c *core) ServeUnreachable(sent []byte, to transport.Addr, err error) {
	c.tx.Unreachable(sent, to, err)
}
func (c *core) Stalled() {}

func ExampleLayer() {
	c := new(core)
	tr := transport.New(transport.Config{Handler: c})
	c.tx = transaction.New(transaction.Config{Transport: tr})
	defer c.tx.Close()
	if err := tr.Listen(context.Background(), "udp:127.0.0.1:0"); err != nil {
		return
	}
	tr.Start()
	defer func() { _ = tr.Close() }()
	// Output:
}
