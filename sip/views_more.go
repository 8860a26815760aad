package sip

import (
	"iter"
	"strconv"
	"time"
)

// Requires yields the option tags of Require.
func (h *Header) Requires() iter.Seq[string] { return h.Values("Require") }

// ProxyRequires yields the option tags of Proxy-Require.
func (h *Header) ProxyRequires() iter.Seq[string] { return h.Values("Proxy-Require") }

// Supporteds yields the option tags of Supported.
func (h *Header) Supporteds() iter.Seq[string] { return h.Values("Supported") }

// Unsupporteds yields the option tags of Unsupported.
func (h *Header) Unsupporteds() iter.Seq[string] { return h.Values("Unsupported") }

// dateLayout is rfc1123-date; the zone is GMT and no other (§20.17).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// Date is the Date field. It may allocate.
func (h *Header) Date() (time.Time, error) {
	s, ok := h.raw(idDate)
	if !ok {
		return time.Time{}, ErrNoField
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil {
		return time.Time{}, bad("Date", "no rfc1123-date in GMT", 0)
	}
	return t, nil
}

// SetDate writes the Date field.
func (h *Header) SetDate(t time.Time) { h.Set("Date", t.UTC().Format(dateLayout)) }

// Timestamp gives the two numbers of the Timestamp field, in seconds: when the request was sent, by its sender's clock, and
// the delay before it was answered, 0 when absent (§20.38).
func (h *Header) Timestamp() (at, delay float64, err error) {
	s, ok := h.raw(idTimestamp)
	if !ok {
		return 0, 0, ErrNoField
	}
	i := 0
	for i < len(s) && !isSpace(s[i]) {
		i++
	}
	at, ok = decimal(s[:i])
	if rest := trim(s[i:]); ok && rest != "" {
		delay, ok = decimal(rest)
	}
	if !ok {
		return 0, 0, bad("Timestamp", "no decimal number", 0)
	}
	return at, delay, nil
}

// decimal reads digits with at most one point; ParseFloat alone would take exponents, infinities and signs too.
func decimal(s string) (float64, bool) {
	for i := range len(s) {
		if !isDigit(s[i]) && s[i] != '.' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
