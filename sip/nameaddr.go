package sip

// A NameAddr is the value of From, To, Contact, Route, Record-Route, Path, Service-Route, ... (RFC 3261 §20.10, §25.1).
type NameAddr struct {
	Display string // display name unquoted and unescaped; "" when absent
	URI     URI
	Params  Params // header parameters: ";tag=x", ";expires=60"
	Star    bool   // Contact: *
}

func ParseNameAddr(s string) (NameAddr, error) { panic("stub") }
func (n NameAddr) String() string              { panic("stub") } // always with <>
func (n NameAddr) AppendTo(b []byte) []byte    { panic("stub") }

// Tag returns the tag parameter, "" when absent.
func (n NameAddr) Tag() string { panic("stub") }
