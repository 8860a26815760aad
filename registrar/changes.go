package registrar

import (
	"strings"
	"time"
)

// Changes yields the events that turn old, the bindings of aor before, into next, those after, at the instant now.
// Bindings of old that had expired by now are told as Expired even when next holds their contact again, for then it was
// registered anew. For stores that tell changes to watchers.
func Changes(aor AOR, old, next []Binding, now time.Time) []Event {
	var events []Event
	for i := range old {
		switch {
		case !old[i].Expires.After(now):
			events = append(events, Event{Expired, aor, old[i]})
		case find(next, &old[i]) < 0:
			events = append(events, Event{Removed, aor, old[i]})
		}
	}
	for i := range next {
		j := find(old, &next[i])
		switch {
		case j < 0 || !old[j].Expires.After(now):
			events = append(events, Event{Registered, aor, next[i]})
		case !unchanged(&old[j], &next[i]):
			events = append(events, Event{Refreshed, aor, next[i]})
		}
	}
	return events
}

// find returns the binding of l that is the same contact as b, -1 when there is none.
func find(l []Binding, b *Binding) int {
	for i := range l {
		if sameContact(&l[i], b) {
			return i
		}
	}
	return -1
}

// sameContact tells whether two bindings stand for one contact: the same instance and reg-id
// (RFC 5626 §6), else equal URIs (RFC 3261 §10.3 step 7).
func sameContact(a, b *Binding) bool {
	if a.RegID != 0 && b.RegID != 0 && a.Instance != "" && b.Instance != "" {
		return a.RegID == b.RegID && strings.EqualFold(a.Instance, b.Instance)
	}
	return a.Contact == b.Contact || a.Contact.Equal(b.Contact)
}

// unchanged compares packed forms: a Binding holds slices and is not comparable.
func unchanged(a, b *Binding) bool {
	if a.CSeq != b.CSeq || !a.Expires.Equal(b.Expires) {
		return false
	}
	var buf [2][512]byte
	return string(appendBinding(buf[0][:0], a)) == string(appendBinding(buf[1][:0], b))
}
