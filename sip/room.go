package sip

// Messages are allocated with room for their edits behind them, which spares the arena an allocation of its own: a
// received message may get received and rport, a clone goes out with Via, Record-Route, Max-Forwards and Request-URI.
const (
	requestRoom  = 120 // with a Request and the allocator's 8 bytes: size class 704
	cloneRoom    = 312 // 896
	responseRoom = 160 // with a Response: 640
	answerRoom   = 224 // 704
)

func newRequest() *Request {
	m := new(struct {
		Request
		room [requestRoom]byte
	})
	m.arena = m.room[:0]
	return &m.Request
}

func newResponse() *Response {
	m := new(struct {
		Response
		room [responseRoom]byte
	})
	m.arena = m.room[:0]
	return &m.Response
}

func newAnswer() *Response {
	m := new(struct {
		Response
		room [answerRoom]byte
	})
	m.arena = m.room[:0]
	return &m.Response
}

// Clone returns an independent copy that shares the text.
//
//go:noinline
func (r *Request) Clone() *Request {
	m := new(struct {
		Request
		room [cloneRoom]byte
	})
	m.Request = *r
	m.unshare(m.room[:0])
	return &m.Request
}

// CloneInto is Clone into the memory of c, which nobody uses any more: whoever needs copies for a moment need not allocate each.
// The arena of c is not written on again, for what c was a copy of may share it.
func (r *Request) CloneInto(c *Request) {
	*c = *r
	c.unshare(nil)
}

// Clone returns an independent copy that shares the text.
func (r *Response) Clone() *Response {
	m := new(struct {
		Response
		room [responseRoom]byte
	})
	m.Response = *r
	m.unshare(m.room[:0])
	return &m.Response
}

// unshare gives a copied header an overlay of its own. A small arena moves into the room; a large one is shared, without
// its spare capacity: neither owner may append where the other does.
func (h *Header) unshare(room []byte) {
	if len(h.arena) <= cap(room)/2 {
		h.arena = append(room, h.arena...)
	} else {
		h.arena = h.arena[:len(h.arena):len(h.arena)]
	}
	if h.more != nil {
		l := append(make([]field, 0, len(*h.more)+4), *h.more...)
		h.more = &l
	}
}
