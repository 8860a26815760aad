package main

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// home puts a phone of a user behind a NAT box of its own.
func (x *exchange) home(name, public string) (*siptest.Phone, *siptest.NAT) {
	box := x.Network.NAT(siptest.NAT{Public: public, Timeout: 40 * time.Second})
	return x.behind(name, box), box
}

func (x *exchange) behind(name string, box *siptest.NAT) *siptest.Phone {
	phone := x.PhoneAt(box.Host("192.168.1.2"), name)
	phone.AOR = at(name)
	return phone
}

// Boxes with another mapping for every destination, which let nobody else in, change nothing: there is one destination. When a box forgets a mapping the phone has another
// port, and is found there once it has registered again.
func TestSymmetricNAT(t *testing.T) {
	c := settings()
	c.media = "never"
	scenario(t, c, func(x *exchange) {
		box := x.Network.NAT(siptest.NAT{Public: "203.0.113.1", Symmetric: true, Timeout: 40 * time.Second})
		alice, bob := x.behind("alice", box), x.behind("bob", x.Network.NAT(siptest.NAT{Public: "203.0.113.2", Symmetric: true, Timeout: 40 * time.Second}))
		x.register(alice).Expect(200)
		x.register(bob).Expect(200)
		stop := x.keepalives()
		defer stop()
		x.Sleep(5 * time.Minute)
		x.talk(alice.Call(x, at("bob")), bob.Incoming(x))
		x.talk(bob.Call(x, at("alice")), alice.Incoming(x))
		if x.Proto.Reliable() {
			return
		}
		box.Forget()
		x.register(alice).Expect(200)
		x.talk(bob.Call(x, at("alice")), alice.Incoming(x))
	})
}

// Two phones with the same private address behind different boxes call each other; both are kept reachable.
func TestBehindNAT(t *testing.T) {
	c := settings()
	fake := new(tape)
	c.relay = fake
	scenario(t, c, func(x *exchange) {
		alice, _ := x.home("alice", "203.0.113.1")
		bob, box := x.home("bob", "203.0.113.2")
		x.register(alice).Expect(200)
		x.register(bob).Expect(200)
		stop := x.keepalives()
		x.Sleep(10 * time.Minute) // more than a mapping lives

		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		require.Equal(x, "192.168.1.2", in.Invitation().URI.Host)
		require.Contains(x, in.Invitation().Get("Record-Route"), ";nat=yes")
		require.Contains(x, in.Invitation().Body(), "c=IN IP4 192.0.2.99")
		in.ExpectAck()
		x.Sleep(20 * time.Second)
		call.Info("application/dtmf-relay", "Signal=2\r\n")
		in.ExpectRequest(sip.INFO)
		in.Bye()
		call.ExpectBye()
		x.Sleep(time.Second)
		require.Equal(x, tally{offers: 1, answers: 1, deletes: 1}, fake.played())

		box.Forget() // the box is switched off: bob is gone
		x.Network.Partition("203.0.113.2")
		x.Sleep(5 * time.Minute)
		alice.Invite(x, at("bob")).Expect(404)
		stop()
		x.Network.Heal()
	})
}

// Phones whose addresses are true send media directly, unless -media always.
func TestMediaPolicy(t *testing.T) {
	for media, want := range map[string]tally{"nat": {}, "never": {}, "always": {offers: 1, answers: 1, deletes: 1}} {
		t.Run(media, func(t *testing.T) {
			c := settings()
			fake := new(tape)
			c.media, c.relay = media, fake
			scenario(t, c, func(x *exchange) {
				alice, bob := x.registered("alice", "198.51.100.1"), x.registered("bob", "198.51.100.2")
				x.talk(alice.Call(x, at("bob")), bob.Incoming(x))
				x.Sleep(time.Second)
				require.Equal(x, want, fake.played())
			})
		})
	}
}

// A call whose media have stopped is ended with BYE to both.
func TestSilentCallEnds(t *testing.T) {
	c := settings()
	c.media, c.relay = "always", new(tape)
	scenario(t, c, func(x *exchange) {
		alice, bob := x.registered("alice", "198.51.100.1"), x.registered("bob", "198.51.100.2")
		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		in.ExpectAck()
		x.p.relay.TimedOut(rtprelay.Ref{CallID: call.ID(), FromTag: call.Invitation().FromTag()})
		call.ExpectBye()
		in.ExpectBye()
	})
}

// What the flags say of silence is what the relay in this process does.
func TestMediaFlags(t *testing.T) {
	c, err := parse(strings.Fields("-media-timeout 50s -media-one-sided 45s -media-failure pass"))
	require.NoError(t, err)
	e := c.engine(nil).(*rtprelay.Embedded)
	require.Equal(t, 50*time.Second, e.Timeout)
	require.Equal(t, 45*time.Second, e.OneSided)
	p := &proxy{c: &c}
	require.True(t, p.relayMedia().Pass)
	c, err = parse(nil)
	require.NoError(t, err)
	require.Zero(t, c.engine(nil).(*rtprelay.Embedded).OneSided)
	require.False(t, (&proxy{c: &c}).relayMedia().Pass)
}

// A relay that fails: new calls are refused, answered ones ended, and changes of a call leave it as it was. With pass nothing of this happens.
func TestMediaFailure(t *testing.T) {
	for _, policy := range []string{"refuse", "pass"} {
		t.Run(policy, func(t *testing.T) {
			c := settings()
			fake := new(tape)
			c.media, c.failure, c.relay = "always", policy, fake
			scenario(t, c, func(x *exchange) {
				refuse := policy == "refuse"
				alice, bob := x.registered("alice", "198.51.100.1"), x.registered("bob", "198.51.100.2")
				fake.fail(false, false)
				call := alice.Call(x, at("bob"))
				in := bob.Incoming(x)
				in.ExpectAck()
				fake.fail(true, false)
				if refuse {
					call.Start(sip.INVITE, sdp).Expect(503)
				} else {
					call.Reinvite(sdp)
					in.ExpectRequest(sip.INVITE)
					in.ExpectAck()
				}
				call.Bye()
				in.ExpectBye()

				if refuse {
					alice.Invite(x, at("bob")).Expect(503)
				} else {
					x.talk(alice.Call(x, at("bob")), bob.Incoming(x))
				}

				fake.fail(false, true)
				call, in = alice.Call(x, at("bob")), bob.Incoming(x)
				if !refuse {
					x.talk(call, in)
					return
				}
				in.ExpectAck()
				require.Contains(x, call.ExpectBye().Get("Reason"), "no media relay")
				in.ExpectBye()
			})
		})
	}
}

func sdp(r *sip.Request) {
	r.SetBody("application/sdp", "v=0\r\no=- 2 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 10002 RTP/AVP 0\r\n")
}

// Nobody makes us send into networks that he cannot reach himself.
func TestScreen(t *testing.T) {
	c := settings()
	c.users = accounts(t, "alice")
	scenario(t, c, func(x *exchange) {
		alice := x.registered("alice", "198.51.100.1")
		for _, inside := range []string{"127.0.0.1:22", "10.0.0.5", "224.0.0.1", "255.255.255.255"} {
			alice.Invite(x, "sip:x@"+inside).Expect(403)
		}
		for _, inside := range []string{"127.0.0.1:5060", "224.0.0.1"} {
			alice.Request(x, sip.REGISTER, "sip:"+office, func(r *sip.Request) {
				r.Set("To", "<"+alice.AOR+">")
				r.Set("Contact", "<sip:alice@"+inside+">")
			}).Expect(403)
		}
	})
}

// With -contact-alias both sides of a call see Kamailio's alias in the Contact of the other, give it back, and the phones never do.
func TestContactAlias(t *testing.T) {
	c := settings()
	c.media, c.alias = "never", true
	scenario(t, c, func(x *exchange) {
		alice, _ := x.home("alice", "203.0.113.1")
		bob, _ := x.home("bob", "203.0.113.2")
		x.register(alice).Expect(200)
		x.register(bob).Expect(200)
		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		invite := in.Invitation()
		require.Regexp(x, `<sip:alice@192\.168\.1\.2(:\d+)?;alias=203\.0\.113\.1~\d+~`+strconv.Itoa(int(x.Proto))+`[;>]`, invite.Get("Contact"))
		require.False(x, invite.URI.Params.Has("alias"), "%s", invite.URI)
		in.ExpectAck()
		call.Info("application/dtmf-relay", "Signal=2\r\n")
		require.False(x, in.ExpectRequest(sip.INFO).URI.Params.Has("alias"))
		in.Bye()
		require.False(x, call.ExpectBye().URI.Params.Has("alias"))
		require.EqualValues(x, 3, x.p.fix.Stats().Added, "INVITE, 180, 200")
		require.NotZero(x, x.p.fix.Stats().Followed)
	})
}

// keepalives runs the pinger until stop.
func (x *exchange) keepalives() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = x.p.pinger.Run(ctx, x.p.server)
	}()
	return func() { cancel(); <-done }
}

// A tape is an engine that counts and relays nothing.
type tape struct {
	mu sync.Mutex
	tally
	failOffer, failAnswer bool
}

func (e *tape) fail(offer, answer bool) {
	e.mu.Lock()
	e.failOffer, e.failAnswer = offer, answer
	e.mu.Unlock()
}

func (e *tape) broken(b *bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if *b {
		return rtprelay.ErrUnavailable
	}
	return nil
}

type tally struct{ offers, answers, deletes int }

func (e *tape) count(n *int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*n++
}

// played is what was asked so far, and starts anew.
func (e *tape) played() (t tally) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, e.tally = e.tally, t
	return t
}

func (e *tape) rewrite(p rtprelay.Params) (rtprelay.Result, error) {
	d, err := rtprelay.ParseSDP(p.SDP)
	if err != nil {
		return rtprelay.Result{}, err
	}
	streams := make([]rtprelay.Stream, len(d.Media))
	for i := range streams {
		streams[i] = rtprelay.Stream{Addr: netip.MustParseAddr("192.0.2.99"), Port: 20000}
	}
	return rtprelay.Result{SDP: d.Rewrite(streams, rtprelay.Edit{}), Streams: len(streams)}, nil
}

func (e *tape) Offer(_ context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	e.count(&e.offers)
	if err := e.broken(&e.failOffer); err != nil {
		return rtprelay.Result{}, err
	}
	return e.rewrite(p)
}

func (e *tape) Answer(_ context.Context, p rtprelay.Params) (rtprelay.Result, error) {
	e.count(&e.answers)
	if err := e.broken(&e.failAnswer); err != nil {
		return rtprelay.Result{}, err
	}
	return e.rewrite(p)
}

func (e *tape) Delete(context.Context, rtprelay.Ref) error { e.count(&e.deletes); return nil }

func (e *tape) Query(context.Context, rtprelay.Ref) (rtprelay.Stats, error) {
	return rtprelay.Stats{}, nil
}

func (e *tape) Close() error { return nil }

// A phone whose connection is gone, but whose address is true, is connected to anew for requests in its calls.
func TestConnectionGone(t *testing.T) {
	scenario(t, settings(), func(x *exchange) {
		alice, bob := x.registered("alice", "198.51.100.1"), x.registered("bob", "198.51.100.2")
		call := alice.Call(x, at("bob"))
		in := bob.Incoming(x)
		in.ExpectAck()
		alice.Hangup()
		x.Sleep(time.Second)
		in.Bye()
		call.ExpectBye()
	})
}
