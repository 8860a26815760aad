package sip

import "iter"

// Params is the raw text of a parameter list, empty or starting with ';' (";lr;ftag=a").
// Names compare without case. Methods parse as they go and allocate nothing when reading.
type Params string

// Get returns the value of the first parameter of that name, quotes kept, and whether the name is there at all.
func (p Params) Get(name string) (value string, ok bool) { panic("stub") }
func (p Params) Has(name string) bool                    { panic("stub") }

// All yields name and value ("" for a bare name) in order.
func (p Params) All() iter.Seq2[string, string] { panic("stub") }

// With returns the list with the parameter replaced in place or appended; an empty value writes a bare name.
func (p Params) With(name, value string) Params { panic("stub") }
func (p Params) Without(name string) Params     { panic("stub") }
