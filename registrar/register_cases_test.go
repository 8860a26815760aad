package registrar_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// step is one REGISTER of a case: its fields beside those every request has, the code, and the bindings after it; "=": as before.
type step struct {
	fields string
	code   int
	want   string
}

// bindings writes what a store holds as "uri=seconds uri=seconds", with ";q" where it is not 1, sorted.
func bindings(t testing.TB, s registrar.Store, aor string) string {
	t.Helper()
	list, err := s.Lookup(context.Background(), registrar.AOR(aor))
	require.NoError(t, err)
	var out []string
	for _, b := range list {
		out = append(out, entry(b.Contact.String(), b.Q, int(time.Until(b.Expires).Round(time.Second)/time.Second)))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func entry(uri string, q float32, seconds int) string {
	if q != 1 {
		uri += ";q=" + strconv.FormatFloat(float64(q), 'f', -1, 32)
	}
	return uri + "=" + strconv.Itoa(seconds)
}

// answered writes the Contacts of a 200 in the same way.
func answered(t testing.TB, res *sip.Response) string {
	t.Helper()
	var out []string
	for c, err := range res.Contacts() {
		require.NoError(t, err)
		q := 1.0
		if v, ok := c.Params.Get("q"); ok {
			q, err = strconv.ParseFloat(v, 32)
			require.NoError(t, err)
		}
		v, _ := c.Params.Get("expires")
		n, err := strconv.Atoi(v)
		require.NoError(t, err, "expires")
		out = append(out, entry(c.URI.String(), float32(q), n))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// send makes a REGISTER of these lines; To, Call-ID and CSeq may be among them.
func send(t testing.TB, p *siptest.Phone, user string, lines string) *siptest.Transaction {
	t.Helper()
	return p.Request(t.(siptest.T), sip.REGISTER, "sip:example.com", func(r *sip.Request) {
		r.Set("To", "<sip:"+user+"@example.com>")
		r.Del("Contact")
		for line := range strings.Lines(lines) {
			name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ": ")
			if !ok {
				continue
			}
			switch name {
			case "To", "From", "Call-ID", "CSeq", "Expires", "Max-Forwards":
				r.Set(name, value)
			default:
				r.Add(name, value)
			}
		}
	})
}

// play runs the steps of a case for a user of their own.
func play(t *testing.T, p *siptest.Phone, store registrar.Store, user string, steps []step) {
	t.Helper()
	for i, s := range steps {
		lines := s.fields
		if !strings.Contains(lines, "Call-ID: ") {
			lines += "\nCall-ID: " + user
		}
		if !strings.Contains(lines, "CSeq: ") {
			lines += fmt.Sprintf("\nCSeq: %d REGISTER", i+1)
		}
		before := bindings(t, store, user+"@example.com")
		res := send(t, p, user, lines).Final()
		after := bindings(t, store, user+"@example.com")
		require.Equal(t, s.code, res.Code, "%s, step %d: %s", user, i+1, res)
		if s.want == "=" {
			s.want = before
		}
		require.Equal(t, s.want, after, "%s, step %d", user, i+1)
		if res.Code == 200 {
			require.Equal(t, after, answered(t, res), "%s, step %d: %s", user, i+1, res)
			require.True(t, res.Has("Date"))
		} else {
			require.Equal(t, before, after, "%s, step %d: refused and changed", user, i+1)
			require.False(t, res.Has("Contact"))
		}
	}
}

const (
	a = "Contact: <sip:u@192.0.2.1>"
	b = "Contact: <sip:u@192.0.2.2>"
	c = "Contact: <sip:u@192.0.2.3>"
)

// cases are §10.2 and §10.3 on a registrar with at most three contacts.
var cases = map[string][]step{
	"add-refresh-remove": {
		{a, 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=100", 200, "sip:u@192.0.2.1=100"},
		{b + ";expires=200", 200, "sip:u@192.0.2.1=100 sip:u@192.0.2.2=200"},
		{a + ";expires=0", 200, "sip:u@192.0.2.2=200"},
		{a + ";expires=0", 200, "="}, // what is not there may be removed
	},
	"query": {
		{"", 200, ""},
		{a, 200, "sip:u@192.0.2.1=3600"},
		{"Expires: 77", 200, "sip:u@192.0.2.1=3600"},
		{"CSeq: 1 REGISTER", 200, "="}, // no order for what changes nothing
	},
	"parameter-before-field-before-default": {
		{a + ";expires=90\nExpires: 120", 200, "sip:u@192.0.2.1=90"},
		{a + "\nExpires: 120", 200, "sip:u@192.0.2.1=120"},
		{a + ";expires=90\n" + b + "\nExpires: 120", 200, "sip:u@192.0.2.1=90 sip:u@192.0.2.2=120"},
		{a + "\nExpires: 0", 200, "sip:u@192.0.2.2=120"},
		{b + ";expires=300\nExpires: 0", 200, "sip:u@192.0.2.2=300"},
		{b + ";EXPIRES=0\nExpires: 300", 200, ""},
	},
	"malformed-expires-is-an-hour": { // §10.2.1.1
		{a + ";expires=soon", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=-1", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=\"90\"", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=90;expires=0", 200, "sip:u@192.0.2.1=90"},
		{a + ";expires=280297596632815", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=4294967295", 200, "sip:u@192.0.2.1=86400"},
		{a + ";expires=1e3", 200, "sip:u@192.0.2.1=3600"},
	},
	"too-brief": {
		{a + ";expires=59", 423, ""},
		{a + ";expires=60", 200, "sip:u@192.0.2.1=60"},
		{a + "\nExpires: 1", 423, "="},
		{b + ";expires=600\n" + a + ";expires=1", 423, "="}, // all or nothing
		{a + ";expires=00", 200, ""},
	},
	"too-long": {
		{a + ";expires=86400", 200, "sip:u@192.0.2.1=86400"},
		{a + ";expires=86401", 200, "sip:u@192.0.2.1=86400"},
	},
	"star": {
		{"Contact: *\nExpires: 0", 200, ""}, // nothing there
		{a + "\n" + b, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600"},
		{"Contact: *", 400, "="},
		{"Contact: *\nExpires: 1", 400, "="},
		{"Contact: *\nExpires: soon", 400, "="},
		{"Contact: *;expires=0", 400, "="},
		{"Contact: *\n" + a + "\nExpires: 0", 400, "="},
		{a + "\nContact: *\nExpires: 0", 400, "="},
		{"Contact: *, *\nExpires: 0", 400, "="},
		{"Contact: *\nExpires: 0\nCSeq: 2 REGISTER", 400, "="},
		{"Contact: *\nExpires: 0\nCSeq: 1 REGISTER", 400, "="},
		{"Contact: *\nExpires: 0", 200, ""},
	},
	"star-from-another-call": {
		{a + "\nCSeq: 900 REGISTER", 200, "sip:u@192.0.2.1=3600"},
		{"Contact: *\nExpires: 0\nCSeq: 1 REGISTER\nCall-ID: other", 200, ""},
	},
	"order": {
		{a + "\nCSeq: 10 REGISTER", 200, "sip:u@192.0.2.1=3600"},
		{a + ";expires=90\nCSeq: 10 REGISTER", 400, "="},
		{a + ";expires=90\nCSeq: 9 REGISTER", 400, "="},
		{a + ";expires=0\nCSeq: 10 REGISTER", 400, "="},
		{b + "\n" + a + ";expires=90\nCSeq: 10 REGISTER", 400, "="}, // all or nothing, the new one first
		{a + ";expires=90\nCSeq: 2147483647 REGISTER", 200, "sip:u@192.0.2.1=90"},
		{a + ";expires=95\nCSeq: 1 REGISTER\nCall-ID: after-a-reboot", 200, "sip:u@192.0.2.1=95"},
		{a + ";expires=96\nCSeq: 1 REGISTER\nCall-ID: after-a-reboot", 400, "="},
		{b + ";expires=97\nCSeq: 1 REGISTER\nCall-ID: after-a-reboot", 200, "sip:u@192.0.2.1=95 sip:u@192.0.2.2=97"},
	},
	"q": {
		{a + ";q=0.5", 200, "sip:u@192.0.2.1;q=0.5=3600"},
		{a + ";q=1.0", 200, "sip:u@192.0.2.1=3600"},
		{a + ";q=0", 200, "sip:u@192.0.2.1;q=0=3600"},
		{a + ";Q=0.123", 200, "sip:u@192.0.2.1;q=0.123=3600"},
		{a + ";q=1.", 200, "sip:u@192.0.2.1=3600"},
		{a + ";q=1.001", 400, "="},
		{a + ";q=2", 400, "="},
		{a + ";q=-0.1", 400, "="},
		{a + ";q=NaN", 400, "="},
		{a + ";q=.5", 400, "="},
		{a + ";q=0x1p-2", 400, "="},
		{a + ";q=1e-1", 400, "="},
		{a + ";q", 400, "="},
		{a + ";q=\"0.5\"", 400, "="},
		{b + ";q=0.7, <sip:u@192.0.2.1>;q=high", 400, "="},
	},
	"several": {
		{a + ", <sip:u@192.0.2.2>;expires=100\n" + c + ";expires=200", 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=100 sip:u@192.0.2.3=200"},
		{"m: <sip:u@192.0.2.1>;expires=0\nContact: <sip:u@192.0.2.4>", 200, "sip:u@192.0.2.2=100 sip:u@192.0.2.3=200 sip:u@192.0.2.4=3600"},
		{"Contact: <sip:u@192.0.2.4>;expires=70\nContact: <sip:u@192.0.2.4>;expires=80", 200, "sip:u@192.0.2.2=100 sip:u@192.0.2.3=200 sip:u@192.0.2.4=80"},
	},
	"limit": {
		{a + "\n" + b + "\n" + c, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600 sip:u@192.0.2.3=3600"},
		{"Contact: <sip:u@192.0.2.4>", 403, "="},
		{a + ";expires=100", 200, "sip:u@192.0.2.1=100 sip:u@192.0.2.2=3600 sip:u@192.0.2.3=3600"},
		{"Contact: <sip:u@192.0.2.4>\n" + a + ";expires=0", 200, "sip:u@192.0.2.2=3600 sip:u@192.0.2.3=3600 sip:u@192.0.2.4=3600"},
		{"Contact: " + strings.Repeat("<sip:u@192.0.2.9>,", 200) + "<sip:u@192.0.2.4>;expires=0", 403, "="},
	},
	"contact": {
		{"Contact: <sip:192.0.2.1>", 200, "sip:192.0.2.1=3600"},
		{"Contact: sip:u@192.0.2.1;transport=tcp", 200, "sip:192.0.2.1=3600 sip:u@192.0.2.1=3600"}, // the parameter is the field's
		{"Contact: *\nExpires: 0", 200, ""},
		{"Contact: \"J, R\" <sip:u@192.0.2.1;transport=tcp>;expires=90", 200, "sip:u@192.0.2.1;transport=tcp=90"},
		{"Contact: <sips:u@192.0.2.1>", 200, "sip:u@192.0.2.1;transport=tcp=90 sips:u@192.0.2.1=3600"},
		{"Contact: *\nExpires: 0", 200, ""},
		{"Contact: <sip:u@[2001:db8::1]:5070>", 200, "sip:u@[2001:db8::1]:5070=3600"},
		{"Contact: <sip:u@[2001:DB8:0::1]:5070>;expires=99", 200, "sip:u@[2001:DB8:0::1]:5070=99"},
		{"Contact: <mailto:u@example.com>", 200, "mailto:u@example.com=3600 sip:u@[2001:DB8:0::1]:5070=99"},
		{"Contact: <sip:>", 400, "="},
		{"Contact: <sip:u@>", 400, "="},
		{"Contact: <>", 400, "="},
		{"Contact: <sip:u@192.0.2.1", 400, "="},
		{"Contact: sip:u@192.0.2.1?Route=x", 400, "="},
		{"Contact: <sip:u@192.0.2.1:70000>", 400, "="},
		{"Contact: \"u <sip:u@192.0.2.1>", 400, "="},
		{a + "\nContact: <sip:u@>", 400, "="},
	},
	"require": {
		{a + "\nRequire: path, gruu", 200, "sip:u@192.0.2.1=3600"},
		{b + "\nRequire: path, sugar", 420, "="},
		{b + "\nRequire: Outbound", 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600"},
	},
	"to": {
		{"To: <sip:to@elsewhere.example>\n" + a, 404, ""},
		{"To: <sip:example.com>\n" + a, 404, ""},
		{"To: <tel:+15551234>\n" + a, 400, ""},
		{"To: isbn:2983792873\n" + a, 400, ""},
		{"To: \"T\" <sip:to@EXAMPLE.com:5070;transport=tcp>\n" + a, 200, "sip:u@192.0.2.1=3600"},
		{"To: <sips:%74o@Example.Com>\n" + b, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600"},
	},
	"from-somebody-else": { // third-party registration is for who authenticates to decide
		{"From: <sip:boss@elsewhere.example>;tag=1\n" + a, 200, "sip:u@192.0.2.1=3600"},
	},
	"oversize": {
		{"Contact: <sip:" + strings.Repeat("u", 5000) + "@192.0.2.1>", 413, ""},
		{a + ";x=" + strings.Repeat("u", 5000), 413, ""},
		{a + "\nPath: <sip:" + strings.Repeat("p", 5000) + "@192.0.2.1;lr>", 413, ""},
		{a + "\nUser-Agent: " + strings.Repeat("u", 5000), 200, "sip:u@192.0.2.1=3600"},
		{b + "\nCall-ID: " + strings.Repeat("u", 5000), 413, "="},
	},
}

func TestRegisterCases(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 3})
		p := k.Phone("phone", "192.0.2.20")
		for name, steps := range cases {
			play(t, p, store, name, steps)
		}
	})
}

func TestMinExpires(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}, MinExpires: 2 * time.Hour, DefaultExpires: time.Minute, MaxExpires: 3 * time.Hour}
		home(k, t, g)
		p := k.Phone("phone", "192.0.2.20")
		require.Equal(t, "7200", send(t, p, "u", a+";expires=3599").Expect(423).Get("Min-Expires"))
		play(t, p, store, "hour", []step{
			{a + ";expires=3600", 200, "sip:u@192.0.2.1=3600"}, // no registrar may refuse an hour
			{b, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=7200"},
			{a + ";expires=20000", 200, "sip:u@192.0.2.1=10800 sip:u@192.0.2.2=7200"},
		})
	})
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, RaiseExpires: true})
		play(t, k.Phone("phone", "192.0.2.20"), store, "raise", []step{
			{a + ";expires=1", 200, "sip:u@192.0.2.1=60"},
			{a + ";expires=0", 200, ""},
		})
	})
}

// TestContactComparison is §10.3 step 7 with the table of §19.1.4: the second contact replaces the first, or joins it.
func TestContactComparison(t *testing.T) {
	pairs := []struct {
		a, b string
		same bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:bob@biloxi.com", "sips:bob@biloxi.com", false},
		{"sip:%00@host5.example.com", "sip:%00%00@host5.example.com", false},
		{"sip:u@[2001:db8::1]", "sip:u@[2001:DB8:0:0::1]", true},
		{"tel:+1-555-1234", "tel:+15551234", true},
	}
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
		p := k.Phone("phone", "192.0.2.20")
		for i, x := range pairs {
			user := fmt.Sprint("pair", i)
			send(t, p, user, "Contact: <"+x.a+">;expires=100").Expect(200)
			send(t, p, user, "Contact: <"+x.b+">;expires=200").Expect(200)
			want := x.b + "=200"
			if !x.same {
				l := []string{x.a + "=100", want}
				slices.Sort(l)
				want = strings.Join(l, " ")
			}
			require.Equal(t, want, bindings(t, store, user+"@example.com"))
		}
	})
}

// TestUserNames: escapes of the user do not tell users apart, case does, and the domain has none (§10.3 step 5).
func TestUserNames(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"Example.COM", "other.example"}})
		p := k.Phone("phone", "192.0.2.20")
		send(t, p, "x", "To: <sip:%41nna@EXAMPLE.com>\n"+a).Expect(200)
		send(t, p, "x", "To: <sip:anna@example.com>\n"+b).Expect(200)
		send(t, p, "x", "To: <sip:null-%00-null@example.com>\n"+c).Expect(200)
		send(t, p, "x", "To: <sip:anna@other.example>\n"+c).Expect(404) // not of the domain in the Request-URI (§10.3 step 5)
		at := func(domain, to string) int {
			return p.Request(t, sip.REGISTER, "sip:"+domain, func(r *sip.Request) { r.Set("To", "<"+to+">"); r.Set("Contact", "<sip:u@192.0.2.3>") }).Final().Code
		}
		require.Equal(t, 200, at("Other.example.", "sip:anna@other.example"))
		require.Equal(t, 404, at("other.example", "sip:anna@example.com"))
		require.Equal(t, 200, at("192.0.2.101", "sip:anna@OTHER.example."), "an address of the server stands for all domains")
		require.Equal(t, "sip:u@192.0.2.1=3600", bindings(t, store, "Anna@example.com"))
		require.Equal(t, "sip:u@192.0.2.2=3600", bindings(t, store, "anna@example.com"))
		require.Equal(t, "sip:u@192.0.2.3=3600", bindings(t, store, "null-\x00-null@example.com"))
		require.Equal(t, "sip:u@192.0.2.3=3600", bindings(t, store, "anna@other.example"))
		// Addresses of the server are its first domain.
		send(t, p, "x", "To: <sip:anna@192.0.2.101>\n"+c).Expect(200)
		require.Equal(t, "sip:u@192.0.2.2=3600 sip:u@192.0.2.3=3600", bindings(t, store, "anna@example.com"))
	})
}

// TestContactIsTheUser: a contact that leads back to the address-of-record would have calls run in circles (RFC 5627 §5.1).
func TestContactIsTheUser(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, GRUU: true})
		p := k.Phone("phone", "192.0.2.20")
		gruu := "Supported: gruu\n" + a + `;+sip.instance="<urn:uuid:1>"`
		res := send(t, p, "u", gruu).Expect(200)
		for c, err := range res.Contacts() {
			require.NoError(t, err)
			for _, name := range []string{"pub-gruu", "temp-gruu"} {
				u, _ := c.Params.Get(name)
				require.NotEmpty(t, u)
				send(t, p, "u", "Contact: <"+strings.Trim(u, `"`)+">").Expect(403)
			}
		}
		send(t, p, "u", "Contact: <sip:u@example.com>").Expect(403)
		send(t, p, "u", "Contact: <sip:%75@EXAMPLE.com.;x=y>").Expect(403)
		require.Equal(t, "sip:u@192.0.2.1=3600", bindings(t, store, "u@example.com"))
		send(t, p, "u", "Contact: <sip:other@example.com>").Expect(200) // his calls go to a colleague
		send(t, p, "u", "Contact: <sip:u@example.com:5070>").Expect(200)
	})
}

// TestTortureRegisters is what RFC 4475 says of the REGISTERs in it.
func TestTortureRegisters(t *testing.T) {
	want := map[string]struct {
		code int
		aor  string
		have string
	}{
		"escnull":  {200, "null-\x00-null@example.com", "sip:%00%00@host5.example.com=3600 sip:%00@host5.example.com=3600"},
		"scalar02": {400, "user@example.com", ""},
		"regbadct": {400, "user@example.com", ""},
		"cparam01": {200, "watson@example.com", "sip:+19725552222@gw1.example.net=3600"},
		"cparam02": {200, "watson@example.com", "sip:+19725552222@gw1.example.net;unknownparam=3600"},
		"regescrt": {200, "user@example.com", "sip:user@example.com?Route=%3Csip:sip.example.com%3E=3600"},
		"unksm2":   {400, "2983792873@example.com", ""},
		"regaut01": {200, "j.user@example.com", ""},
	}
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		n := 0
		for name, w := range want {
			n++
			text, err := os.ReadFile("../sip/testdata/torture/rfc4475/" + name + ".dat")
			require.NoError(t, err)
			store := new(registrar.Memory)
			s := home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}})
			p := k.Phone(name, fmt.Sprintf("198.51.100.%d", n))
			p.Raw()
			m, err := sip.Parse(text)
			require.NoError(t, err)
			m.Head().PopVia()
			m.Head().PushVia(sip.Via{Protocol: "SIP/2.0", Transport: k.Proto.String(), Host: p.Addr().Addr().String(), Port: 5060, Params: ";branch=z9hG4bK" + sip.Params(name)})
			p.SendTo(s.Addrs()[0].AddrPort.String(), m.String())
			res, err := sip.ParseResponse(p.Receive())
			require.NoError(t, err)
			require.Equal(t, w.code, res.Code, "%s: %s", name, res)
			p.Silence(time.Minute)
			require.Equal(t, strings.ReplaceAll(w.have, "=3600", "=3540"), bindings(t, store, w.aor), name)
			require.NoError(t, store.Close())
		}
	})
}

func TestMalformedRegisterIsAnsweredOnce(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		home(k, t, &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 2})
		p := k.Phone("phone", "192.0.2.20")
		for i, fields := range []string{a + ";expires=1", "Contact: *", a + "\n" + b + "\n" + c, a + "\nRequire: sugar", a + ";q=7", "To: <sip:x@elsewhere.example>\n" + a} {
			tr := send(t, p, fmt.Sprint("u", i), fields)
			require.GreaterOrEqual(t, tr.Final().Code, 400)
			tr.Nothing(time.Minute)
		}
		for range store.Scan(context.Background()) {
			t.Fatal("a refused REGISTER left a binding")
		}
	})
}

// TestRegisterOverABadNetwork: datagrams are lost and doubled; every phone is registered once, and copies change nothing.
func TestRegisterOverABadNetwork(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		home(k, t, g)
		k.Network.SetLink("", "", siptest.Link{Delay: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.2, Reorder: 0.1})
		const n = 20
		for i := range n {
			p := k.Phone(fmt.Sprint("phone", i), fmt.Sprintf("198.51.100.%d", i+1))
			send(t, p, p.Name, "Contact: <"+p.Contact()+">;expires=600").Expect(200)
			send(t, p, p.Name, "Contact: <"+p.Contact()+">;expires=500").Expect(200)
		}
		require.EqualValues(t, 2*n, g.Stats().Registered)
		for i := range n {
			require.Equal(t, 1, len(strings.Fields(bindings(t, store, fmt.Sprintf("phone%d@example.com", i)))))
		}
	})
}

// TestManyPhonesOfOneUser register at the same time: none is lost, and no more than allowed.
func TestManyPhonesOfOneUser(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}, Contacts: 40}
		home(k, t, g)
		var txs []*siptest.Transaction
		for i := range 50 {
			p := k.Phone(fmt.Sprint("phone", i), fmt.Sprintf("198.51.100.%d", i+1))
			txs = append(txs, send(t, p, "everybody", "Contact: <"+p.Contact()+">"))
		}
		codes := map[int]int{}
		for _, tx := range txs {
			codes[tx.Final().Code]++
		}
		require.Equal(t, map[int]int{200: 40, 403: 10}, codes)
		require.Len(t, strings.Fields(bindings(t, store, "everybody@example.com")), 40)
		require.Equal(t, uint64(40), g.Stats().Registered)
		require.Equal(t, uint64(10), g.Stats().Refused)
	})
}

// TestRegisterWithoutTransaction: copies come to the registrar, and are answered with the bindings as they are.
func TestRegisterWithoutTransaction(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		store := new(registrar.Memory)
		defer store.Close()
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		s := k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Accept: g.Accept, Handler: g})
		p := k.Phone("phone", "192.0.2.20")
		same := "\nCall-ID: one\nCSeq: 7 REGISTER"
		play(t, p, store, "copy", []step{
			{a + same, 200, "sip:u@192.0.2.1=3600"},
			{a + same, 200, "="},
			{a + ";expires=90" + same, 200, "="},
			{a + "\nCall-ID: one\nCSeq: 6 REGISTER", 400, "="},
			{a + ";expires=0\nCall-ID: one\nCSeq: 8 REGISTER", 200, ""},
			{a + ";expires=0\nCall-ID: one\nCSeq: 8 REGISTER", 200, ""},
			{a + "\n" + b, 200, "sip:u@192.0.2.1=3600 sip:u@192.0.2.2=3600"},
			{"Contact: *\nExpires: 0", 200, ""},
		})
		require.Zero(t, s.Stats().Requests)
		k.Network.SetLink("", "", siptest.Link{Delay: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.3})
		for i := range 30 {
			send(t, p, "lossy", a+fmt.Sprintf(";expires=%d", 600+i)+fmt.Sprintf("\nCall-ID: lossy\nCSeq: %d REGISTER", i+1)).Expect(200)
			time.Sleep(40 * time.Second) // nothing of the last one is still under way
		}
		require.Len(t, list(t, store, "lossy@example.com"), 1)
	})
}

// TestGatheringJournal: no 200 leaves before what it promises is in the file.
func TestGatheringJournal(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		j, err := registrar.OpenJournal(t.TempDir(), registrar.JournalConfig{Gather: true})
		require.NoError(t, err)
		defer j.Close()
		g := &registrar.Registrar{Store: j, Domains: []string{"example.com"}}
		k.Server(t, &sipproxy.Server{Names: []string{"example.com"}, Handler: g, BeforeSend: func() { _ = j.Flush(context.Background()) }})
		answers := uint64(0)
		k.Network.Tap(func(p siptest.Packet) {
			if strings.HasPrefix(string(p.Data), "SIP/2.0 200") {
				answers++
				if written := j.Stats().Written; written < answers {
					t.Errorf("%d answers, %d written", answers, written)
				}
			}
		})
		for i := range 10 {
			p := k.Phone(fmt.Sprint("phone", i), fmt.Sprintf("198.51.100.%d", i+1))
			send(t, p, p.Name, a).Expect(200)
		}
		require.Equal(t, uint64(10), answers)
	})
}
