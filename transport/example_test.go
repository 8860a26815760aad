package transport_test

import (
	"context"
	"fmt"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// answerer answers every request with 200.
type answerer struct{ layer *transport.Layer }

func (a *answerer) ServeMessage(m sip.Message, f transport.Flow) {
	req, ok := m.(*sip.Request)
	if !ok {
		return
	}
	via, err := req.Via()
	if err != nil {
		return
	}
	_ = a.layer.ReplyFlow(f, via).Send(sip.NewResponse(req, 200, "", "tag"), nil)
}

func (a *answerer) ServeUnreachable([]byte, transport.Addr, error) {}
func (a *answerer) Stalled()                                       {}

// printer shows the answers it gets.
type printer chan string

func (p printer) ServeMessage(m sip.Message, f transport.Flow) {
	if res, ok := m.(*sip.Response); ok {
		p <- fmt.Sprint(f.Proto(), " ", res.Code, " ", res.Reason)
	}
}

func (p printer) ServeUnreachable([]byte, transport.Addr, error) {}
func (p printer) Stalled()                                       {}

func Example() {
	ctx := context.Background()
	server := &answerer{}
	server.layer = transport.New(transport.Config{Handler: server})
	answers := make(printer)
	client := transport.New(transport.Config{Handler: answers})
	for _, l := range []*transport.Layer{server.layer, client} {
		if err := l.Listen(ctx, "tcp:127.0.0.1:0"); err != nil {
			fmt.Println(err)
			return
		}
		l.Start()
		defer func() { _ = l.Close() }()
	}

	flow, err := client.FlowTo(server.layer.Addrs()[0], transport.Flow{})
	if err != nil {
		fmt.Println(err)
		return
	}
	host, port := flow.SentBy()
	req := sip.NewRequest(sip.OPTIONS, sip.MustParseURI("sip:bob@example.com"))
	req.PushVia(sip.Via{Protocol: "SIP/2.0", Transport: flow.Proto().ViaName(), Host: host, Port: port, Params: ";branch=z9hG4bK1"})
	req.Add("From", "<sip:alice@example.com>;tag=1")
	req.Add("To", "<sip:bob@example.com>")
	req.Add("Call-ID", "1")
	req.Add("CSeq", "1 OPTIONS")
	if err := flow.Send(req, nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-answers)
	// Output: tcp 200 OK
}
