package sipkit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// Requirements that no single package is about.

func hostOf(k *siptest.Kit, r *sipproxy.Request, host string) sipproxy.Target {
	u := r.URI.WithHostPort(host)
	if k.Proto == transport.TCP {
		u = u.WithParam("transport", "tcp")
	}
	return sipproxy.Target{URI: u}
}

// 78, 95: the second try of a transaction has the branch of the first but for the number at its end; the caller gets the To tag of the second callee.
func TestTriesShareABranch(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if res := r.Forward(ctx, hostOf(k, r, "192.0.2.20")); !res.Is(500) {
				return res
			}
			return r.Forward(ctx, hostOf(k, r, "192.0.2.30"))
		})})
		alice, first, second := k.Phone("alice", "192.0.2.10"), k.Phone("first", "192.0.2.20"), k.Phone("second", "192.0.2.30")
		first.Refuse(500)
		second.Refuse(486)
		res := alice.Invite(t, "sip:100@example.com").Expect(486)
		var branches [2]string
		for i, p := range []*siptest.Phone{first, second} {
			branches[i] = p.Incoming(t).Invitation().Branch()
		}
		prefix, ok := strings.CutSuffix(branches[0], ".0")
		require.True(t, ok, branches[0])
		require.Equal(t, prefix+".1", branches[1])
		require.True(t, strings.HasPrefix(prefix, sip.MagicCookie))
		require.NotEmpty(t, res.ToTag())
	})
}

const inviteOf2001 = `INVITE sip:7170@iptel.org SIP/2.0
Via: SIP/2.0/UDP 195.37.77.100:5040;rport
Max-Forwards: 10
From: "jiri" <sip:jiri@iptel.org>;tag=76ff7a07-c091-4192-84a0-d56e91fe104f
To: <sip:jiri@bat.iptel.org>
Call-ID: d10815e0-bf17-4afa-8412-d9130a793d96@213.20.128.35
CSeq: 2 INVITE
Contact: <sip:213.20.128.35:9315>
User-Agent: Windows RTC/1.0
`

const credentialsOf2001 = `Proxy-Authorization: Digest username="jiri", realm="iptel.org", 
 algorithm="MD5", uri="sip:jiri@bat.iptel.org", 
 nonce="3cef753900000001771328f5ae1b8b7f0d742da1feb5753c", 
 response="53fe98db10e1074
 b03b3e06438bda70f"
`

const bodyOf2001 = "v=0\nb=CT:1000\nm=audio 54742 RTP/AVP 97 3\na=rtpmap: 3 GSM/8000\n"

// 128, 129: an INVITE of a client of RFC 2543, whose Via has no branch. It is forwarded as it is, its copy and its CANCEL find it, and the responses go
// to the port it came from.
func TestInviteOf2001(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	body := crlf(bodyOf2001)
	invite := crlf(inviteOf2001+credentialsOf2001+"Content-Type: application/sdp\nContent-Length: 66\n\n") + body
	require.Len(t, body, 66)
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, hostOf(k, r, "192.0.2.20"))
		})})
		jiri, bob := k.Phone("jiri", "195.37.77.100"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		receive := func(code int, method sip.Method) *sip.Response {
			res, err := sip.ParseResponse(jiri.Receive())
			require.NoError(t, err)
			_, m, err := res.CSeq()
			require.NoError(t, err)
			require.Equal(t, code, res.Code)
			require.Equal(t, method, m)
			return res
		}
		jiri.Send(invite)
		res := receive(100, sip.INVITE)
		require.Contains(t, res.Get("Via"), "rport=5060")
		require.Contains(t, res.Get("Via"), "received=195.37.77.100")
		out := bob.Receive()
		require.True(t, strings.HasSuffix(out, "\r\n\r\n"+body), out)
		require.Contains(t, out, crlf(credentialsOf2001))
		require.Contains(t, out, "Max-Forwards: 9\r\n")
		req, err := sip.ParseRequest(out)
		require.NoError(t, err)
		bob.Send(sip.NewResponse(req, 180, "", "b").String())
		receive(180, sip.INVITE)

		jiri.Send(invite) // a copy: the last provisional response again, nothing for bob
		receive(180, sip.INVITE)
		jiri.Send(crlf(strings.ReplaceAll(inviteOf2001, "INVITE", "CANCEL") + "Content-Length: 0\n\n"))
		codes := map[sip.Method]int{}
		for range 2 {
			res, err := sip.ParseResponse(jiri.Receive())
			require.NoError(t, err)
			_, m, _ := res.CSeq()
			codes[m] = res.Code
			if m == sip.CANCEL {
				cancel, err := sip.ParseRequest(bob.Receive())
				require.NoError(t, err)
				require.Equal(t, sip.CANCEL, cancel.Method)
				bob.Send(sip.NewResponse(cancel, 200, "", "b").String())
				bob.Send(sip.NewResponse(req, 487, "", "b").String())
			}
		}
		require.Equal(t, map[sip.Method]int{sip.CANCEL: 200, sip.INVITE: 487}, codes)
		tag := sip.NewResponse(req, 487, "", "b").Get("To")
		ack := strings.ReplaceAll(strings.Replace(inviteOf2001, "To: <sip:jiri@bat.iptel.org>", "To: "+tag, 1), "INVITE", "ACK")
		jiri.Send(crlf(ack + "Content-Length: 0\n\n"))
		jiri.Silence(time.Minute)
		require.Zero(t, s.Stats().Unsent)
	})
}

// J 17: neither a sips request nor one for a sips contact leaves by a hop that is known not to be secure (RFC 5630 §5.3).
func TestSIPSNeedsASecureHop(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			next, err := transport.ParseAddr(k.Proto.String() + ":192.0.2.20:5060")
			require.NoError(t, err)
			return r.Forward(ctx, sipproxy.Target{URI: sip.MustParseURI("sips:bob@example.com"), Next: next})
		})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		for uri, warning := range map[string]string{"sips:bob@example.com": "380 ", "sip:bob@example.com": "381 "} {
			res := alice.Invite(t, uri).Expect(480)
			require.True(t, strings.HasPrefix(res.Get("Warning"), warning), uri)
		}
		bob.NoCall(t, time.Minute)
	})
}

// J 17: nothing less is made of a sips request, wherever a handler sends it (RFC 5630 §5.3).
func TestSIPSStaysSIPS(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, sipproxy.Target{URI: sip.MustParseURI("sip:bob@192.0.2.20")})
		})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		res := alice.Invite(t, "sips:bob@example.com").Expect(480)
		require.True(t, strings.HasPrefix(res.Get("Warning"), "380 "))
		bob.NoCall(t, time.Minute)
	})
}
