package transaction

import "github.com/sipkit/sipkit/sip"

// User is the user given to NewServer, nil once there is nothing more to tell it.
func (t *Server) User() ServerUser {
	s := t.layer.shard(t.hash)
	s.Lock()
	defer s.Unlock()
	return t.user
}

// SetUser replaces the user of a server transaction, unless it has none any more.
func (t *Server) SetUser(u ServerUser) {
	s := t.layer.shard(t.hash)
	s.Lock()
	defer s.Unlock()
	if t.user != nil {
		t.user = u
	}
}

// Silence ends the transaction without a response: copies of the request are absorbed for 64*T1, as after a final one.
// It does nothing after a final response.
func (t *Server) Silence() {
	l := t.layer
	now := l.Now()
	s := l.shard(t.hash)
	s.Lock()
	defer s.Unlock()
	if t.m.state != trying && t.m.state != proceeding {
		return
	}
	t.m.state = completed
	if t.method == sip.INVITE {
		t.m.state = accepted // absorbs without a word
	}
	t.m.expire = now.add(64 * l.timers.T1)
	t.req, t.user, t.kept = nil, nil, nil
	t.key.own(make([]byte, 0, t.key.size()))
	t.rearm(t, now)
}

// SetUser replaces the user of a client transaction, unless it has none any more.
func (c *Client) SetUser(u ClientUser) {
	s := c.layer.shard(c.hash)
	s.Lock()
	defer s.Unlock()
	if c.user != nil {
		c.user = u
	}
}
