package auth_test

import (
	"context"
	"fmt"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
)

// Users of a registrar prove who they are, and register themselves only.
func ExampleDigest() {
	users := new(auth.Users)
	users.Set("example.com", "alice", "secret")
	digest := &auth.Digest{Source: users, Realm: "example.com"}
	chain := sipproxy.Chain{digest.Middleware, auth.Own{}.Middleware}
	_ = chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		id, _ := auth.User(ctx)
		fmt.Println(id.User, "registers")
		return r.Reply(200)
	})
	fmt.Println("offered:", users.Algorithms("example.com"))
	// Output: offered: SHA-512-256,SHA-256,MD5
}

// What a line of a password file holds.
func ExamplePassword() {
	fmt.Println(auth.Password("testrealm@host.com", "Mufasa", "Circle Of Life").MD5)
	// Output: 939e7578ed9e3c518a452acee763bce9
}

// A client answers a challenge and sends the request again.
func ExampleAuthorize() {
	req := sip.NewRequest(sip.REGISTER, sip.MustParseURI("sip:example.com"))
	res := sip.NewResponse(req, 401, "", "")
	res.Add("WWW-Authenticate", `Digest realm="example.com", nonce="x", algorithm=MD5, qop="auth"`)
	fmt.Println(auth.Authorize(req, res, "alice", "secret"), req.Has("Authorization"))
	fmt.Println(auth.Authorize(req, res, "alice", "secret"), "the second time: the password is wrong")
	// Output:
	// true true
	// false the second time: the password is wrong
}
