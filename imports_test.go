package sipkit_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/sipkit/sipkit"

// floors is the house of docs/architecture.md: imports point downward only. Packages of one floor do not import each other. A package
// below a listed one ("registrar/redisstore") is of its family and stands on the same floor.
var floors = map[string]int{
	"sip": 0, "transport": 1, "transaction": 2, "sipproxy": 3,
	"recordroute": 4, "dialog": 4, "registrar": 4, "nat": 4, "rtprelay": 4,
	"sipproxy/middleware": 4, "sipproxy/auth": 4, "sipproxy/dispatcher": 4, "sipproxy/admin": 4, "sipproxy/siptest": 4,
	"examples": 5, "interop": 5, "bench": 5, "examples/internal": 4,
	"internal": -1,
}

// libraries are those that only some packages may import; tests may import them all. What is absent here may be imported nowhere but in
// tests.
var libraries = map[string][]string{
	"github.com/miekg/dns":                {"transport"},
	"github.com/gobwas/ws":                {"transport"},
	"github.com/gaissmai/bart":            {"sipproxy/middleware", "sipproxy/auth", "nat"},
	"github.com/pion/sdp/v3":              {"dialog", "rtprelay"},
	"github.com/redis/go-redis/v9":        {"registrar/redisstore"},
	"github.com/prometheus/client_golang": {"sipproxy/admin"},
	"github.com/stretchr/testify":         {"registrar/registrartest", "rtprelay/rtprelaytest"}, // kits for those who implement our interfaces
	"golang.org/x/sys":                    nil,                                                  // anywhere
	"golang.org/x/sync":                   nil,
}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Standard     bool
}

func list(t *testing.T, patterns ...string) (packages []listed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,Standard"}, patterns...)...).Output()
	require.NoError(t, err)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// family is the listed package that a package is, or is below.
func family(path string) string {
	for name := path; ; {
		if _, ok := floors[name]; ok {
			return name
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return ""
		}
		name = name[:i]
	}
}

func own(path string) (name string, ok bool) {
	return strings.CutPrefix(path, module+"/")
}

func TestImportsPointDownward(t *testing.T) {
	for _, p := range list(t, "./...") {
		name, ok := own(p.ImportPath)
		if !ok {
			continue // this package, tests only
		}
		f := family(name)
		require.NotEmpty(t, f, "%s stands on no floor of the house", name)
		for _, i := range p.Imports {
			if g, ok := own(i); ok {
				require.True(t, below(family(g), f), "%s must not import %s", name, g)
			}
		}
	}
}

// below reports whether packages of family f may import those of family g.
func below(g, f string) bool {
	if g == f && floors[g] < 5 {
		return true
	}
	return floors[g] < floors[f]
}

// Tests may import what is made for tests, and else what stands above the package under test only from an external test package.
func TestTestsImportDownward(t *testing.T) {
	for _, p := range list(t, "./...") {
		name, _ := own(p.ImportPath)
		for _, i := range p.TestImports {
			g, ok := own(i)
			if !ok || family(g) == "sipproxy/siptest" || family(g) == "internal" {
				continue
			}
			require.True(t, below(family(g), family(name)), "the tests of %s must not import %s", name, g)
		}
	}
}

func TestLibrariesHaveTheirPlace(t *testing.T) {
	for _, p := range list(t, "./...") {
		name, _ := own(p.ImportPath)
		for _, i := range p.Imports {
			if !strings.Contains(strings.Split(i, "/")[0], ".") || strings.HasPrefix(i, module) {
				continue
			}
			lib := library(i)
			require.NotEmpty(t, lib, "%s imports %s, which the design does not name", name, i)
			if users := libraries[lib]; users != nil && floors[family(name)] < 5 {
				require.Contains(t, users, name, "%s must not import %s", name, lib)
			}
		}
	}
}

func library(path string) string {
	for lib := range libraries {
		if path == lib || strings.HasPrefix(path, lib+"/") {
			return lib
		}
	}
	return ""
}

// Whoever imports the proxy does not compile Redis, Prometheus or what only tests use.
func TestCoreIsLight(t *testing.T) {
	for _, p := range list(t, "-deps", "./sipproxy", "./recordroute") {
		for _, heavy := range []string{"redis", "prometheus", "testify", "net/http/", "pion", "bart"} {
			require.NotContains(t, p.ImportPath, heavy)
		}
	}
}

// Messages are values: their package does no I/O.
func TestSIPDoesNoIO(t *testing.T) {
	for _, p := range list(t, "./sip") {
		for _, i := range p.Imports {
			require.False(t, slices.Contains([]string{"net", "os", "io", "net/http", "log", "log/slog", "sync", "fmt", "reflect", "regexp"}, i), "sip imports %s", i)
		}
	}
}
