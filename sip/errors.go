package sip

import (
	"errors"
	"strconv"
)

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

// Error gives what, why and where in one line.
func (e *ParseError) Error() string {
	return "sip: " + e.What + ": " + e.Reason + " at byte " + strconv.Itoa(e.Offset)
}

func bad(what, reason string, offset int) *ParseError {
	return &ParseError{What: what, Reason: reason, Offset: offset}
}
