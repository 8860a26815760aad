package sip

import "iter"

// A Header is the ordered header fields and the body of a message: one immutable received text, an index of
// its fields, and edits as an overlay. Field names compare without case and compact names equal the
// long ones everywhere. Comma-separated values equal separate fields for those names whose grammar is a list.
// Reading is safe for concurrent use as long as nobody edits; reading never allocates unless it says so.
type Header struct {
	stub int // index, text, overlay
}

// ---- generic access

// Get returns the value of the first field of that name, unfolded of nothing: raw, without surrounding white space. "" when absent.
func (h *Header) Get(name string) string { panic("stub") }
func (h *Header) Has(name string) bool   { panic("stub") }

// All yields the raw value of each field line of that name.
func (h *Header) All(name string) iter.Seq[string] { panic("stub") }

// Values yields each comma-separated value over all fields of that name (list headers only; others as All).
func (h *Header) Values(name string) iter.Seq[string] { panic("stub") }

// Fields yields name as written and raw value of every field in order.
func (h *Header) Fields() iter.Seq2[string, string] { panic("stub") }

// HasToken reports whether one of the comma-separated values of the named field equals token without case (Require, Supported, Allow ...).
func (h *Header) HasToken(name, token string) bool { panic("stub") }

// ---- typed views: the zero value and ErrNoField when absent, *ParseError when malformed

func (h *Header) Via() (Via, error)                        { panic("stub") } // topmost
func (h *Header) Vias() iter.Seq2[Via, error]              { panic("stub") }
func (h *Header) From() (NameAddr, error)                  { panic("stub") }
func (h *Header) To() (NameAddr, error)                    { panic("stub") }
func (h *Header) FromTag() string                          { panic("stub") } // cheap: no URI parse
func (h *Header) ToTag() string                            { panic("stub") }
func (h *Header) CallID() string                           { panic("stub") }
func (h *Header) CSeq() (seq uint32, m Method, err error)  { panic("stub") }
func (h *Header) MaxForwards() (n int, err error)          { panic("stub") }
func (h *Header) Expires() (seconds uint32, err error)     { panic("stub") }
func (h *Header) ContentLength() (n int, err error)        { panic("stub") }
func (h *Header) ContentType() string                      { panic("stub") }
func (h *Header) RetryAfter() (seconds uint32, err error)  { panic("stub") }
func (h *Header) Contacts() iter.Seq2[NameAddr, error]     { panic("stub") }
func (h *Header) Routes() iter.Seq2[NameAddr, error]       { panic("stub") }
func (h *Header) RecordRoutes() iter.Seq2[NameAddr, error] { panic("stub") }

// NameAddrs is Contacts for any field of that shape (Path, Service-Route, P-Asserted-Identity ...).
func (h *Header) NameAddrs(name string) iter.Seq2[NameAddr, error] { panic("stub") }

// ---- edits

// Set leaves one field of that name: the first is replaced in place, others removed; appended (before the body's fields) when absent.
func (h *Header) Set(name, value string) { panic("stub") }

// Add appends a field after the last one of that name, at the end when there is none.
func (h *Header) Add(name, value string) { panic("stub") }

// Prepend inserts a field before the first one of that name (Via, Route, Record-Route, Path: new topmost value); with none, at the place the RFC recommends (top for Via).
func (h *Header) Prepend(name, value string) { panic("stub") }

// Del removes every field of that name and reports whether there was one.
func (h *Header) Del(name string) bool { panic("stub") }

// PopFirst removes the first comma-separated value of the first field of that name, wherever the commas are, and returns it. The field goes when it was alone.
func (h *Header) PopFirst(name string) (value string, ok bool) { panic("stub") }

// ReplaceFirst replaces the first comma-separated value.
func (h *Header) ReplaceFirst(name, value string) bool { panic("stub") }

// DelFunc removes the comma-separated values (or whole fields of non-list headers) of that name for which f is true, and returns how many.
func (h *Header) DelFunc(name string, f func(value string) bool) int { panic("stub") }
func (h *Header) PushVia(v Via)                                      { panic("stub") }
func (h *Header) PopVia() bool                                       { panic("stub") }

// SetViaReceived writes received and/or rport into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4); "" and 0 leave it alone.
func (h *Header) SetViaReceived(received string, rport uint16) { panic("stub") }
func (h *Header) SetMaxForwards(n int)                         { panic("stub") }
func (h *Header) SetToTag(tag string)                          { panic("stub") } // adds or replaces

// ---- body

func (h *Header) Body() string { panic("stub") }

// SetBody replaces the body, Content-Type and Content-Length; an empty body removes Content-Type.
func (h *Header) SetBody(contentType, body string) { panic("stub") }
