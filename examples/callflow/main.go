// Command callflow shows what a proxy does to a call. It starts a proxy and two phones on 127.0.0.1, with real sockets, lets them call in
// the ways of experiments.go and draws each call as a ladder with the messages below it.
//
//	callflow            all of them
//	callflow cancelled  one
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

func main() {
	messages := flag.Bool("messages", true, "print the messages below each ladder")
	colour := flag.Bool("colour", terminal(os.Stdout), "with the colours of a terminal")
	flag.Parse()
	if err := run(os.Stdout, *colour, *messages, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "callflow:", err)
		os.Exit(1)
	}
}

// run plays the named experiments, all when none is named.
func run(w io.Writer, colour, messages bool, names []string) error {
	var errs []error
	for _, name := range names {
		if !slices.ContainsFunc(experiments, func(e experiment) bool { return e.name == name }) {
			errs = append(errs, fmt.Errorf("no experiment %q", name))
		}
	}
	for _, e := range experiments {
		if len(errs) > 0 || len(names) > 0 && !slices.Contains(names, e.name) {
			continue
		}
		ladder, err := perform(e)
		ladder.Color, ladder.Messages = colour, messages
		fmt.Fprintf(w, "%s: %s\n\n%s\n\n", e.name, e.title, ladder)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, err))
		}
	}
	return errors.Join(errs...)
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
