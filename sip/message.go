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
	Header
}

// A Response is a SIP response.
type Response struct {
	Code   int
	Reason string
	Header
	// Cause is nil for a response received from the wire; otherwise why this library made it
	// (transaction.ErrTimeout, a transport error, ErrNoAddress ...), or ErrLocal for an answer of a handler.
	Cause error
}

// NewRequest makes a request with start line only; the caller adds the fields it wants.
func NewRequest(m Method, u URI) *Request { panic("stub") }

// NewResponse builds the response to r by RFC 3261 §8.2.6: Via, From, To, Call-ID, CSeq copied, Timestamp copied into a 100,
// Content-Length 0. toTag is added to To when it has none, except in a 100. An empty reason gives the standard phrase.
// Record-Route is copied for 101-299 answers to dialog-forming requests only by the caller's wish: see CopyRecordRoute.
func NewResponse(r *Request, code int, reason, toTag string) *Response { panic("stub") }

func (r *Request) SetURI(u URI) { panic("stub") }

// URIError is the *ParseError of the Request-URI, nil when it was understood.
func (r *Request) URIError() error { panic("stub") }

// Version is the SIP-Version of the start line as written.
func (r *Request) Version() string { panic("stub") }

// Clone returns an independent copy that shares the text.
func (r *Request) Clone() *Request   { panic("stub") }
func (r *Response) Clone() *Response { panic("stub") }

// Is reports whether the final or provisional code is one of codes; false on nil.
func (r *Response) Is(codes ...int) bool { panic("stub") }
func (r *Response) IsProvisional() bool  { panic("stub") } // 1xx; false on nil
func (r *Response) IsSuccess() bool      { panic("stub") } // 2xx; false on nil
// CopyRecordRoute copies the Record-Route fields of q (§12.1.1), for UAS answers.
func (r *Response) CopyRecordRoute(q *Request) { panic("stub") }

// A Fault says what is wrong with a message and how a server answers it.
type Fault struct {
	Code        int      // 400, 413, 414, 416, 420, 505, 513 ...
	Reason      string   // names the fault: "Bad Request (two Call-ID fields)"
	Field       string   // the header field at fault, "" for the start line or framing
	Unsupported []string // option tags for a 420
}

func (f *Fault) Error() string { panic("stub") }

// Limits bounds what is accepted; a zero field means the default written beside it.
type Limits struct {
	MessageBytes int // whole message; 65535
	HeaderBytes  int // start line and header fields; 32768
	Fields       int // header fields; 256
	Vias         int // Via values; 70
	URIBytes     int // Request-URI; 4096, beyond: 414
}

// Parse reads one datagram. It copies b once; nothing of b is kept. It is lenient: whatever has a start line that can be
// told to be SIP gives a message, whose faults Valid names. err is a *ParseError (message nil) when there is nothing to answer to.
// Bytes after Content-Length are not part of the message: Trailing reports them. Empty lines before the start line are skipped (§7.5).
func Parse(b []byte) (Message, error)       { panic("stub") }
func ParseString(s string) (Message, error) { panic("stub") }

// Trailing is the number of bytes dropped behind the body of a datagram.
func (h *Header) Trailing() int                 { panic("stub") }
func ParseRequest(s string) (*Request, error)   { panic("stub") } // convenience for tests and makers
func ParseResponse(s string) (*Response, error) { panic("stub") }

// StatusText is the standard reason phrase of a code, "" when unknown.
func StatusText(code int) string { panic("stub") }
