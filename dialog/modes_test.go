package dialog_test

import "github.com/sipkit/sipkit/transport"

var udpOnly = []transport.Proto{transport.UDP}
