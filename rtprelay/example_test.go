package rtprelay_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sipkit/sipkit/rtprelay"
)

func ExampleParseSDP() {
	body := strings.ReplaceAll(`v=0
o=alice 2890844526 2890844526 IN IP4 192.168.1.5
s=-
c=IN IP4 192.168.1.5
t=0 0
m=audio 49170 RTP/AVP 0
a=rtpmap: 0 PCMU/8000
m=video 0 RTP/AVP 31
`, "\n", "\r\n")
	d, err := rtprelay.ParseSDP(body)
	if err != nil {
		fmt.Println(err) // pass the body on as it is
		return
	}
	streams := make([]rtprelay.Stream, len(d.Media))
	for i := range d.Media {
		if d.Media[i].Relayed() {
			streams[i] = rtprelay.Stream{Addr: netip.MustParseAddr("203.0.113.1"), Port: 30000}
		}
	}
	fmt.Print(strings.ReplaceAll(d.Rewrite(streams, rtprelay.Edit{Mark: true}), "\r\n", "\n"))
	// Output:
	// v=0
	// o=alice 2890844526 2890844526 IN IP4 203.0.113.1
	// s=-
	// c=IN IP4 203.0.113.1
	// t=0 0
	// m=audio 30000 RTP/AVP 0
	// a=rtpmap: 0 PCMU/8000
	// m=video 0 RTP/AVP 31
	// a=nortpproxy:yes
}

func ExampleSplitBody() {
	body := "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n"
	before, sdp, after, ok := rtprelay.SplitBody("multipart/mixed;boundary=b", body)
	fmt.Printf("%q\n%q\n%q\n%v\n", before, sdp, after, ok)
	// Output:
	// "--b\r\nContent-Type: application/sdp\r\n\r\n"
	// "v=0\r\n"
	// "\r\n--b--\r\n"
	// true
}
