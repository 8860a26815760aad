// Package transaction is the transaction layer of SIP: it matches messages to
// transactions, sends requests and responses again where the transport may lose
// them, absorbs the copies that arrive, acknowledges refusals, sends CANCEL, and keeps the time.
//
// The four state machines own no goroutine, socket or clock. Each is a small
// struct whose methods take an event and the time of it and answer with what to
// do; a [Layer] brings them together with a transport, a table and a timer wheel.
//
//   - RFC 3261 §9 (CANCEL), §13.3.1.4 (retransmission of a 2xx made here), §17 (the machines, matching), Appendix A (timers)
//   - RFC 6026 (Accepted states, timers L and M, transport errors at the server)
//   - RFC 4320 where it binds this layer: no 408 to a non-INVITE is ever made here
//   - RFC 3326 (Reason in CANCEL)
//   - RFC 2543 clients, whose branch is not unique, as §17.2.3 has it
//
// A layer is put between a transport and what uses it:
//
//	type core struct{ tx *transaction.Layer }
//
//	// ServeMessage answers every request with 501.
//	func (c *core) ServeMessage(m sip.Message, f transport.Flow) {
//		switch m := m.(type) {
//		case *sip.Response:
//			c.tx.MatchResponse(m, f)
//		case *sip.Request:
//			if _, absorbed := c.tx.MatchRequest(m, f); absorbed || m.Method == sip.ACK {
//				return
//			}
//			s, err := c.tx.NewServer(m, f, nil)
//			if err != nil {
//				return // a copy that came at the same time, or too many
//			}
//			_ = s.Respond(sip.NewResponse(m, 501, "", transaction.NewTag()))
//		}
//	}
//
//	func (c *core) ServeUnreachable(sent []byte, to transport.Addr, err error) {
//		c.tx.Unreachable(sent, to, err)
//	}
//	func (c *core) Stalled() {}
//
//	func main() {
//		c := new(core)
//		tr := transport.New(transport.Config{Handler: c})
//		c.tx = transaction.New(transaction.Config{Transport: tr})
//		defer c.tx.Close()
//		if err := tr.Listen(context.Background(), "udp:127.0.0.1:0"); err != nil {
//			return
//		}
//		tr.Start()
//		defer func() { _ = tr.Close() }()
//	}
package transaction
