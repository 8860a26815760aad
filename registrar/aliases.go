package registrar

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// Aliases maps further names of users to where they lead: keys as AOR, "info@example.com". It is read-only once in use.
type Aliases map[AOR]sip.URI

// Resolve follows aliases of u, some steps at most, and reports whether there was one.
func (a Aliases) Resolve(u sip.URI) (sip.URI, bool) {
	found := false
	for range maxAliasSteps {
		next, ok := a[AOR(sip.Unescape(u.User)+"@"+strings.ToLower(u.Host))]
		if !ok {
			break
		}
		u, found = next, true
	}
	return u, found
}

// maxAliasSteps ends circles of aliases.
const maxAliasSteps = 8

// SpeedDials maps short numbers of a caller, two digits by custom, to where they lead. It is read-only once in use.
type SpeedDials map[AOR]map[string]sip.URI

// Resolve looks the user part of u up among the numbers of the caller.
func (s SpeedDials) Resolve(caller AOR, u sip.URI) (sip.URI, bool) {
	to, ok := s[caller][sip.Unescape(u.User)]
	return to, ok
}
