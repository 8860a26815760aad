package registrar

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sipkit/sipkit/sip"
)

// knownLists bounds the lists of methods that are shared. Phones of one make have one; what comes later is decoded each time.
const knownLists = 16

// methodLists are the lists of methods that decoding has met, so that bindings share them: read-only, as all of a
// Lookup's result. Safe for concurrent use.
type methodLists struct {
	known atomic.Pointer[[]methodList] // replaced as a whole
	mu    sync.Mutex                   // guards replacing
}

type methodList struct {
	codes string
	list  []sip.Method
}

// of returns the list of these codes, none of them zero; ok is false when one is unknown. A nil methodLists makes it anew.
func (m *methodLists) of(codes string) (list []sip.Method, ok bool) {
	if m == nil {
		return decodeMethods(codes)
	}
	known := m.known.Load()
	if known != nil {
		for i := range *known {
			if (*known)[i].codes == codes {
				return (*known)[i].list, true
			}
		}
	}
	list, ok = decodeMethods(codes)
	if ok && (known == nil || len(*known) < knownLists) {
		m.add(methodList{strings.Clone(codes), list})
	}
	return list, ok
}

func (m *methodLists) add(l methodList) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var known []methodList
	if p := m.known.Load(); p != nil {
		known = *p
	}
	if len(known) >= knownLists || slices.ContainsFunc(known, func(k methodList) bool { return k.codes == l.codes }) {
		return
	}
	known = append(slices.Clip(known), l) // a copy: readers have the old one
	m.known.Store(&known)
}

func decodeMethods(codes string) (list []sip.Method, ok bool) {
	list = make([]sip.Method, len(codes))
	for i := range list {
		c := int(codes[i])
		if c >= len(methodCodes) {
			return nil, false
		}
		list[i] = methodCodes[c]
	}
	return list, true
}
