package registrar

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

func sample() []Binding {
	return []Binding{
		{Expires: time.Unix(1, 2)},
		{
			Contact: sip.URI{Scheme: "sip", User: "jan", Password: "p", Host: "192.0.2.1", Port: 5060, Params: ";ob", Headers: "a=b", Opaque: "x"},
			Q:       0.7, Expires: time.Unix(1_700_000_000, 5), CallID: "c", CSeq: 9, Path: []string{"<sip:p;lr>", ""},
			Received: transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort("198.51.100.1:5060")},
			Local:    transport.Addr{Proto: transport.TLS, AddrPort: netip.MustParseAddrPort("[fe80::1%eth0]:5061"), Name: "n"},
			Instance: "<urn:uuid:x>", RegID: 1, Methods: []sip.Method{sip.INVITE, "FOO", sip.NOTIFY}, UserAgent: "ua", Flags: 3,
			GRUU: true, TempGRUUs: []string{}, Params: ";x=y", Updated: time.Unix(1, 0),
		},
		{Expires: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Updated: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)},
	}
}

func TestCodec(t *testing.T) {
	want := sample()
	got, err := DecodeBindings(string(AppendBindings(nil, want)))
	require.NoError(t, err)
	require.Equal(t, want[:2], got[:2])
	require.EqualValues(t, math.MaxInt64, got[2].Expires.UnixNano(), "far times are clamped, not wrapped")
	require.True(t, got[2].Updated.Before(time.Unix(0, 0)))
	require.Empty(t, AppendBindings(nil, nil))
	got, err = DecodeBindings("")
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestCodecExpiry(t *testing.T) {
	s := string(AppendBindings(nil, sample()))
	at := func(sec int64) int64 { return time.Unix(sec, 0).UnixNano() }
	require.Equal(t, s, dropExpired(s, at(0)))
	got, err := DecodeBindings(dropExpired(s, at(2)))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "jan", got[0].Contact.User)
	got, err = decodeLive(s, at(1_700_000_001), nil)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Empty(t, dropExpired(s, math.MaxInt64))
}

// Every cut of a packed text is refused, none reads beyond it.
func TestCodecTruncated(t *testing.T) {
	s := string(AppendBindings(nil, sample()[:2]))
	whole := 0
	for n := 1; n < len(s); n++ {
		if bs, err := DecodeBindings(s[:n]); err == nil {
			require.Len(t, bs, 1)
			whole++
		}
	}
	require.Equal(t, 1, whole, "only the cut between two bindings reads as fewer of them")
	_, err := DecodeBindings("\x02" + s[1:])
	require.Error(t, err, "a version from the future")
}

func FuzzDecodeBindings(f *testing.F) {
	f.Add("")
	f.Add(string(AppendBindings(nil, sample())))
	f.Add(string(AppendBindings(nil, sample()[:1])))
	f.Fuzz(func(t *testing.T, s string) {
		bs, err := DecodeBindings(s)
		first, last := spanOf(s)
		live := dropExpired(s, first)
		if err != nil {
			return
		}
		require.LessOrEqual(t, first, max(first, last))
		if len(bs) > 0 {
			require.Less(t, len(live), len(s))
		}
		again, err := DecodeBindings(string(AppendBindings(nil, bs)))
		require.NoError(t, err)
		require.Equal(t, len(bs), len(again))
		require.Equal(t, AppendBindings(nil, bs), AppendBindings(nil, again))
	})
}

// usual is a binding as DESIGN measures it: one contact, no Path, URIs of 60 octets.
func usual(i int) (AOR, Binding) {
	now := time.Now()
	ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return AOR(fmt.Sprintf("user-with-a-number-%08d@registrar.domain.example.org", i)), Binding{
		Contact:   sip.URI{Scheme: "sip", User: fmt.Sprintf("user-with-a-number-%08d", i), Host: ip.String(), Port: 5060, Params: ";transport=udp"},
		Q:         1,
		Expires:   now.Add(time.Hour + time.Duration(i%3600)*time.Second),
		CallID:    fmt.Sprintf("f81d4fae7dec11d0a76500a0c91e%08d", i),
		CSeq:      uint32(i),
		Received:  transport.Addr{Proto: transport.UDP, AddrPort: netip.AddrPortFrom(ip, 18948)},
		Local:     transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort("203.0.113.5:5060")},
		Methods:   []sip.Method{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.NOTIFY, sip.REFER},
		UserAgent: "Deskphone X200/4.1.7-build 20231",
		Updated:   now,
	}
}
