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
		"our own change":                  {func(c *cache) { c.begin("a@x", newer.version()); c.changed("a@x", newer, true) }, newer},
		"our own, acknowledged not heard": {func(c *cache) { own(c, newer) }, newer},
		"a change that may have happened": {func(c *cache) { c.doubt("a@x", newer.version()) }, ""},
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

// own is a change of ours that is acknowledged before it is heard.
func own(c *cache, v value) { c.settle("a@x", v.version(), v, c.begin("a@x", v.version())) }

// Our own changes are heard by another connection than the one that acknowledges them: late, they must not bring back what they were followed by.
func TestOwnChangeHeardLate(t *testing.T) {
	const gone = value("")
	for name, c := range map[string]struct {
		steps func(*cache)
		want  value
		miss  bool
	}{
		"heard first": {func(c *cache) {
			b := c.begin("a@x", newer.version())
			c.changed("a@x", newer, true)
			c.settle("a@x", newer.version(), newer, b)
		}, newer, false},
		"heard late": {func(c *cache) { own(c, older); own(c, newer); c.changed("a@x", older, true) }, newer, false},
		"removed":    {func(c *cache) { own(c, older); own(c, gone); c.changed("a@x", older, true) }, gone, false},
		"forgotten":  {func(c *cache) { own(c, older); c.drop("a@x"); c.changed("a@x", older, true) }, "", true},
		"another came between": {func(c *cache) {
			b := c.begin("a@x", older.version())
			c.changed("a@x", newer, false)
			c.settle("a@x", older.version(), older, b)
		}, "", true},
		"refused": {func(c *cache) {
			c.begin("a@x", older.version())
			c.refused("a@x", older.version())
			c.changed("a@x", older, true)
		}, "", true},
		"in doubt, then heard": {func(c *cache) {
			own(c, older)
			c.begin("a@x", newer.version())
			c.doubt("a@x", newer.version())
			c.changed("a@x", newer, true)
		}, newer, false},
		"another's comes after": {func(c *cache) { own(c, older); c.changed("a@x", newer, false) }, newer, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCache(100, time.Hour)
			k.heard()
			c.steps(k)
			v, ok := k.fresh("a@x")
			require.Equal(t, c.miss, !ok, v)
			require.Equal(t, c.want, v)
			require.Empty(t, k.shard("a@x").pending)
		})
	}
}
