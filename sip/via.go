package sip

// A Via is one Via value (RFC 3261 §20.42).
type Via struct {
	Protocol  string // "SIP/2.0", white space removed
	Transport string // "UDP" as written
	Host      string
	Port      uint16 // 0: absent
	Params    Params
}

func ParseVia(s string) (Via, error)   { panic("stub") }
func (v Via) String() string           { panic("stub") }
func (v Via) AppendTo(b []byte) []byte { panic("stub") }

// Branch returns the branch parameter, "" when absent.
func (v Via) Branch() string { panic("stub") }

// HostPort is the sent-by as written.
func (v Via) HostPort() string { panic("stub") }

// MagicCookie starts every branch made by an RFC 3261 element (§8.1.1.7).
const MagicCookie = "z9hG4bK"
