package sipproxy

import (
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// byUDP is a large request without state that tries TCP first: when that is refused it goes as it would have gone by UDP (§18.1.1).
// With state the transaction hears of the failure, and the branch goes on to its next address.
type byUDP struct {
	srv   *Server
	req   *sip.Request
	flow  transport.Flow // UDP
	tcp   transport.Flow
	timer transaction.Timer
}

// dialling is how long a connection may take to fail: the transport's bounds on dialling and handshake, and some.
const dialling = 11 * time.Second

// after sends req on a TCP flow and waits for its failure, off the task, for as long as that may take.
func (u *byUDP) after(tcp transport.Flow, req *sip.Request) error {
	u.tcp = tcp
	u.timer.To = u
	u.srv.txs.SetTimer(&u.timer, dialling)
	err := tcp.Send(req, u)
	if err != nil {
		u.srv.txs.StopTimer(&u.timer)
	}
	return err
}

// Expire makes byUDP a transaction.Expirer: the connection stands.
func (u *byUDP) Expire() { u.tcp.Forget(u) }

// SendFailed makes byUDP a transport.Sink.
func (u *byUDP) SendFailed(error) {
	u.srv.txs.StopTimer(&u.timer)
	if u.flow.Send(u.req, nil) != nil {
		u.srv.count.statelessRefused.Add(1)
	}
}
