package transport

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// stepConn is a connection whose writes wait for the test to take them.
type stepConn struct {
	net.Conn
	begun chan struct{}
	taken chan string
}

func (c *stepConn) Write(b []byte) (int, error) {
	c.begun <- struct{}{}
	<-c.begun // whatever the test does meanwhile must not touch b
	c.taken <- string(b)
	return len(b), nil
}

// A buffer that is being written is never appended to, whatever was too large to be kept before.
func TestWireBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Net: newMemNet()})
		sc := &stepConn{begun: make(chan struct{}), taken: make(chan string)}
		w := newWire(&conn{l: l}, sc)
		put := func(s string) {
			_, err := w.Write([]byte(s))
			require.NoError(t, err)
		}
		big := strings.Repeat("b", 100<<10)
		put("first")
		for _, s := range [][2]string{{"first", big}, {big, "abc"}, {"abc", "XYZ"}, {"XYZ", ""}} {
			<-sc.begun
			put(s[1])
			sc.begun <- struct{}{}
			require.Equal(t, s[0], <-sc.taken)
		}
		synctest.Wait()
		require.False(t, w.writing)
		require.Zero(t, w.queued())
		require.NoError(t, l.Close())
	})
}
