package redisstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	older = value("version1older")
	newer = value("version2newer")
)

// While Redis is being asked, something says that the answer may be out of date: it must not go in.
func TestFillCrossedByChange(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*cache)
		want      value // "": the cache does not answer
	}{
		"nothing":                         {func(*cache) {}, older},
		"another node's change":           {func(c *cache) { c.changed("a@x", newer, false) }, ""},
		"our own change":                  {func(c *cache) { c.changed("a@x", newer, true) }, newer},
		"our own, acknowledged not heard": {func(c *cache) { c.settle("a@x", newer.version()) }, ""},
		"a change that may have happened": {func(c *cache) { c.doubt("a@x") }, ""},
		"a refusal":                       {func(c *cache) { c.drop("a@x") }, ""},
		"changes no longer heard":         {func(c *cache) { c.deaf() }, ""},
		"changes heard anew":              {func(c *cache) { c.deaf(); c.heard() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCache(100, time.Hour)
			k.heard()
			asked := k.ticket("a@x")
			c.meanwhile(k)
			k.fill("a@x", older, asked)
			v, ok := k.fresh("a@x")
			require.Equal(t, c.want != "", ok, v)
			if ok {
				require.Equal(t, c.want, v)
			}
		})
	}
}
