package sip

// A Message is a *Request or a *Response.
type Message interface {
	// Head gives the header fields and body.
	Head() *Header
	// AppendTo appends the message as it goes on the wire. Without edits it is the received text, byte for byte.
	// Content-Length is written right whatever edits were made; on a message made here it is always present.
	AppendTo(b []byte) []byte
	// Len is the number of bytes AppendTo appends.
	Len() int
	String() string
	// Valid checks what RFC 3261 wants of every message and returns what a server would answer, nil when all is well.
	// For a response the fault only says why to drop it.
	Valid(l Limits) *Fault
}

// A Request is a SIP request. Its zero value is not useful; see NewRequest and Parse.
// Method and URI of a received request are what its start line says; edit the URI by SetURI only.
type Request struct {
	Method Method
	URI    URI // zero and URIError set when it cannot be parsed
	uriErr *ParseError
	Header
}

// A Response is a SIP response.
type Response struct {
	Code   int
	Reason string
	// Cause is nil for a response received from the wire; otherwise why this library made it
	// (transaction.ErrTimeout, a transport error, ErrNoAddress ...), or ErrLocal for an answer of a handler.
	Cause error
	Header
}

// NewRequest makes a request with start line and Content-Length 0 only; the caller adds the fields it wants.
func NewRequest(m Method, u URI) *Request {
	r := newRequest()
	r.Method = m
	r.blank()
	r.SetURI(u)
	r.setNumber(idContentLength, 0)
	return r
}

// blank readies the header of a message made here.
func (h *Header) blank() {
	h.flags = bodyNew | oddField
	h.begin()
}

// SetURI changes the Request-URI.
func (r *Request) SetURI(u URI) {
	r.begin()
	r.URI, r.uriErr = u, nil
	r.flags &^= startOdd | startFolded | versionOdd
	from := len(r.arena)
	r.arena = append(r.arena, r.Method...)
	r.arena = append(r.arena, ' ')
	r.arena = u.AppendTo(r.arena)
	r.arena = append(r.arena, " SIP/2.0"...)
	clean(r.arena[from:])
	r.setStart(from)
}

// URIError is the *ParseError of the Request-URI, nil when it was understood.
func (r *Request) URIError() error {
	if r.uriErr == nil {
		return nil
	}
	return r.uriErr
}

// Version is the SIP-Version of the start line as written.
func (r *Request) Version() string {
	line, _ := cutLine(r.startLine())
	return lastWord(line)
}

// Version is the SIP-Version of the start line as written.
func (r *Response) Version() string {
	line := r.startLine()
	for i := range len(line) {
		if isSpace(line[i]) {
			return line[:i]
		}
	}
	return line
}

func lastWord(line string) string {
	end := len(line)
	for end > 0 && isBlank(line[end-1]) {
		end--
	}
	i := end
	for i > 0 && !isBlank(line[i-1]) {
		i--
	}
	return line[i:end]
}

// Is reports whether the final or provisional code is one of codes; false on nil.
func (r *Response) Is(codes ...int) bool {
	if r == nil {
		return false
	}
	for _, c := range codes {
		if c == r.Code {
			return true
		}
	}
	return false
}

// IsProvisional reports a 1xx; false on nil.
func (r *Response) IsProvisional() bool { return r != nil && r.Code >= 100 && r.Code < 200 }

// IsSuccess reports a 2xx; false on nil.
func (r *Response) IsSuccess() bool { return r != nil && r.Code >= 200 && r.Code < 300 }
