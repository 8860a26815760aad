package registrar

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// contactParams are the parameters of a contact that mean something to the registrar, the first of each name. They are read in one pass.
type contactParams struct {
	q, expires, regID, instance, methods param

	ours bool // there are some that the 200 has as they are then, and that are not stored
}

type param struct {
	text  string
	there bool
}

func (c *contactParams) read(p sip.Params) {
	for name, v := range p.All() {
		if at := c.at(name); at != nil && !at.there {
			*at = param{v, true}
		}
	}
}

// at is where the parameter of that name belongs; nil: nowhere.
func (c *contactParams) at(name string) *param {
	switch len(name) {
	case len("q"):
		if name == "q" || name == "Q" {
			c.ours = true
			return &c.q
		}
	case len("reg-id"):
		if strings.EqualFold(name, "reg-id") {
			return &c.regID
		}
	case len("expires"):
		if strings.EqualFold(name, "expires") {
			c.ours = true
			return &c.expires
		}
		if strings.EqualFold(name, "methods") {
			return &c.methods
		}
	case len("received"):
		c.ours = c.ours || strings.EqualFold(name, "received") || strings.EqualFold(name, "pub-gruu")
	case len("temp-gruu"):
		c.ours = c.ours || strings.EqualFold(name, "temp-gruu")
	case len("+sip.instance"):
		if strings.EqualFold(name, "+sip.instance") {
			return &c.instance
		}
	}
	return nil
}

// withoutOurs is what is stored of parameters some of which are ours.
func withoutOurs(p sip.Params) sip.Params {
	if strings.LastIndexByte(string(p), ';') == 0 { // nearly always: nothing but expires
		return ""
	}
	for _, name := range [...]string{"q", "expires", "received", "pub-gruu", "temp-gruu"} {
		p = p.Without(name)
	}
	return p
}
