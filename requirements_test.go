package sipkit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/requirements.md names only tests that exist.
func TestRequirementsNameRealTests(t *testing.T) {
	text, err := os.ReadFile("docs/requirements.md")
	require.NoError(t, err)
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz|Example)[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, named)
	sources := make(map[string]string)
	for _, n := range named {
		dir := testDir(n[1])
		if _, ok := sources[dir]; !ok {
			sources[dir] = testSource(t, dir)
		}
		require.True(t, strings.Contains(sources[dir], "\nfunc "+n[2]+"("), "%s has no %s", n[1], n[2]) // not Contains: it would print all of it
	}
}

// It has every number from 1 to 147, and each either names a test or says that it is open.
func TestRequirementsAreAllThere(t *testing.T) {
	text, err := os.ReadFile("docs/requirements.md")
	require.NoError(t, err)
	main, _, _ := strings.Cut(string(text), "## I.")
	next := 1
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9, ]+) \|.*$`).FindAllStringSubmatch(main, -1) {
		for n := range strings.SplitSeq(row[1], ", ") {
			require.Equal(t, strconv.Itoa(next), n)
			next++
		}
		require.Regexp(t, "`[a-z0-9/]+\\.(Test|Example)|\\*\\*open\\*\\*", row[0])
	}
	require.Equal(t, 148, next)
}

// testDir is the folder of a package as the document calls it.
func testDir(name string) string {
	switch name {
	case "sipkit":
		return "."
	case "auth", "middleware", "siptest":
		return filepath.Join("sipproxy", name)
	}
	return filepath.FromSlash(name)
}

func testSource(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(b)
	}
	return all.String()
}
