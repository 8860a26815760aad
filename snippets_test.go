package sipkit_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A snippet is Go in a document: a fenced block of Markdown, or the program in the comment of a doc.go.
type snippet struct {
	at   string // file:line
	code string
}

// Every snippet compiles: complete programs as they stand, declarations with the imports they need added; statements have
// to parse.
func TestSnippetsCompile(t *testing.T) {
	snippets := markdownSnippets(t)
	snippets = append(snippets, docSnippets(t)...)
	root, err := filepath.Abs(".")
	require.NoError(t, err)
	dir := t.TempDir()
	overlay := make(map[string]string)
	var targets []string
	for i, s := range snippets {
		code := complete(t, s)
		if code == "" {
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(file, []byte("//line "+s.at+"\n"+code), 0o600))
		name := fmt.Sprintf("snippet%d", i)
		overlay[filepath.Join(root, "internal", "snippets", name, "main.go")] = file
		targets = append(targets, "./internal/snippets/"+name)
	}
	require.NotEmpty(t, targets)
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, b, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", list}, targets...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func walk(t *testing.T, match func(name string) bool, f func(file, text string)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !match(d.Name()):
			return nil
		}
		b, err := os.ReadFile(path)
		f(path, string(b))
		return err
	}))
}

func markdownSnippets(t *testing.T) (snippets []snippet) {
	walk(t, func(n string) bool { return strings.HasSuffix(n, ".md") }, func(file, text string) {
		var s *snippet
		n := 0
		for line := range strings.Lines(text) {
			n++
			switch fence := strings.TrimSpace(line); {
			case s == nil && fence == "```go":
				s = &snippet{at: fmt.Sprintf("%s:%d", file, n+1)}
			case s != nil && fence == "```":
				snippets = append(snippets, *s)
				s = nil
			case s != nil:
				s.code += line
			}
		}
	})
	return snippets
}

// docSnippets are the indented programs in package comments.
func docSnippets(t *testing.T) (snippets []snippet) {
	walk(t, func(n string) bool { return n == "doc.go" }, func(file, text string) {
		n, s := 0, snippet{}
		for line := range strings.Lines(text) {
			n++
			rest, ok := strings.CutPrefix(line, "//")
			switch {
			case ok && strings.HasPrefix(rest, "\t"):
				if s.at == "" {
					s.at = fmt.Sprintf("%s:%d", file, n)
				}
				s.code += rest[1:]
			case ok && strings.TrimSpace(rest) == "":
				s.code += "\n"
			default:
				snippets = append(snippets, s)
				s = snippet{}
			}
		}
	})
	return slices.DeleteFunc(snippets, func(s snippet) bool { return !strings.Contains(s.code, "package main") })
}

// complete makes a program or package of a snippet; "" when it is a list of statements, which only has to parse.
func complete(t *testing.T, s snippet) string {
	t.Helper()
	if strings.HasPrefix(strings.TrimSpace(s.code), "package ") || strings.Contains(s.code, "\npackage ") {
		if strings.Contains(s.code, "package main") && !strings.Contains(s.code, "func main()") {
			return s.code + "\nfunc main() {}\n" // the test of a program
		}
		return s.code
	}
	if f, err := parser.ParseFile(token.NewFileSet(), s.at, "package snippet\n"+s.code, 0); err == nil {
		if len(f.Imports) > 0 {
			return "package snippet\n" + s.code
		}
		return "package snippet\n" + imports(f) + s.code
	}
	_, err := parser.ParseFile(token.NewFileSet(), s.at, "package snippet\nfunc _() {\n"+s.code+"\n}\n", 0)
	require.NoError(t, err, s.at)
	return ""
}

// imports are those that the unresolved names of a file call for.
func imports(f *ast.File) string {
	known := map[string]string{
		"context": "context", "time": "time", "netip": "net/netip", "slog": "log/slog", "atomic": "sync/atomic", "fmt": "fmt", "log": "log",
		"os": "os", "tls": "crypto/tls", "strings": "strings", "errors": "errors", "testing": "testing", "fnv": "hash/fnv", "sync": "sync", "slices": "slices", "strconv": "strconv", "require": "github.com/stretchr/testify/require",
	}
	for name := range floors {
		known[filepath.Base(name)] = module + "/" + name
	}
	known["redisstore"] = module + "/registrar/redisstore"
	var lines []string
	for _, id := range f.Unresolved {
		if path, ok := known[id.Name]; ok {
			line := fmt.Sprintf("import %q;", path)
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines, "") + "\n"
}
