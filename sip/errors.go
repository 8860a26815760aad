package sip

import "errors"

var (
	// ErrNoField is returned by a typed view when the header field is absent.
	ErrNoField = errors.New("sip: no such header field")
	// ErrLocal is the Cause of a response built with NewResponse.
	ErrLocal = errors.New("sip: made here")
)

// A ParseError says what could not be parsed and where.
type ParseError struct {
	What   string // "Via", "URI", "start line" ...
	Reason string
	Offset int // bytes from the start of the text given to the parser
}

func (e *ParseError) Error() string { panic("stub") }
