package sip

// goodName looks up a field name given by a caller. One that is no token would break the message, so such an edit is not made.
func goodName(name string) (id fieldID, ok bool) {
	id = lookupName(name)
	return id, id != idOther || len(name) < 1<<10 && allOf(name, isToken)
}

// Set leaves one field of that name: the first is replaced in place, others removed; appended (before the fields that
// describe the body) when absent. Line breaks in value become spaces. In all edits, a name that is no token
// is ignored, and a line is cut off at 65535 bytes.
func (h *Header) Set(name, value string) {
	id, ok := goodName(name)
	if !ok {
		return
	}
	if i := h.find(id, name, 0); i >= 0 {
		h.write(&h.list()[i], name, value)
		h.flags |= oddField
		h.delFrom(id, name, i+1)
	} else {
		h.write(h.insert(h.endAt(), id), name, value)
	}
	h.fixLength(id)
}

// endAt is where a new field goes: behind all others, but before those that describe the body.
func (h *Header) endAt() int {
	l := h.list()
	i := len(l)
	for i > 0 {
		switch l[i-1].id {
		case idContentLength, idContentType, idContentDisposition, idContentEncoding, idContentLanguage, idMIMEVersion:
			i--
		default:
			return i
		}
	}
	return i
}

// Add appends a field after the last one of that name; when there is none, as Set does.
func (h *Header) Add(name, value string) {
	id, ok := goodName(name)
	if !ok {
		return
	}
	h.write(h.insert(h.lastAt(id, name), id), name, value)
	h.fixLength(id)
}

// Prepend inserts a field before the first one of that name (Via, Route, Record-Route, Path: new topmost value); with none, at
// the place the RFC recommends: on top for Via, behind the Vias for fields a proxy reads (§7.3.1), else as Set does. With a Via a
// Content-Length is made sure of, as in PushVia.
func (h *Header) Prepend(name, value string) {
	id, ok := goodName(name)
	if !ok {
		return
	}
	h.write(h.insert(h.topAt(id, name), id), name, value)
	h.pushed(id)
}

// pushed is fixLength behind a new topmost value. A Via is what makes a message leave: from here on it may go by a stream (§16.6 step 9).
func (h *Header) pushed(id fieldID) {
	if id == idVia {
		h.needLength()
		return
	}
	h.fixLength(id)
}

func (h *Header) topAt(id fieldID, name string) int {
	if i := h.find(id, name, 0); i >= 0 {
		return i
	}
	switch id {
	case idVia:
		return 0
	case idRoute, idRecordRoute, idProxyRequire, idMaxForwards, idPath, idServiceRoute:
		return h.behindVias()
	}
	return h.endAt()
}

// behindVias is the place behind the topmost Vias, 0 when there is none.
func (h *Header) behindVias() int {
	l := h.list()
	i := h.first(idVia) + 1
	for i < len(l) && l[i].id == idVia {
		i++
	}
	return i
}

// Del removes every field of that name and reports whether there was one.
func (h *Header) Del(name string) bool {
	id := lookupName(name)
	n := h.delFrom(id, name, 0)
	h.fixLength(id)
	return n > 0
}

func (h *Header) delFrom(id fieldID, name string, i int) (n int) {
	for i = h.find(id, name, i); i >= 0; i = h.find(id, name, i) {
		h.remove(i)
		n++
	}
	return n
}

// PopFirst removes the first comma-separated value of the first field of that name, wherever the commas are, and returns it. The field goes when it was alone.
func (h *Header) PopFirst(name string) (value string, ok bool) {
	id := lookupName(name)
	i := h.find(id, name, 0)
	if i < 0 {
		return "", false
	}
	value = h.pop(i)
	h.fixLength(id)
	return value, true
}

// PopValues removes the first n comma-separated values of that name, over as many fields as have them, and reports how many there were. What is left is
// written once: n times PopFirst would write the rest of a long line as often.
func (h *Header) PopValues(name string, n int) (popped int) {
	id := lookupName(name)
	for popped < n {
		i := h.find(id, name, 0)
		if i < 0 {
			break
		}
		popped += h.popSome(i, n-popped)
	}
	h.fixLength(id)
	return popped
}

// popSome takes up to n values off field i, which goes with its last one.
func (h *Header) popSome(i, n int) (popped int) {
	h.begin()
	f := &h.list()[i]
	all := h.value(f)
	at := 0
	for popped < n && at < len(all) {
		end, next := firstValue(f.id, all[at:])
		if trim(all[at:at+end]) != "" {
			popped++
		}
		at += next
	}
	h.cut(i, at)
	return popped
}

// pop takes the first value off field i.
func (h *Header) pop(i int) string {
	h.begin()
	f := &h.list()[i]
	all := h.value(f)
	end, next := firstValue(f.id, all)
	h.cut(i, next)
	return trim(all[:end])
}

// firstValue tells where the first value of a field ends and where the next one starts. Empty values go with the first.
func firstValue(id fieldID, all string) (end, next int) {
	end = len(all)
	if fieldLists[id] {
		if c := commaAt(all); c >= 0 {
			end = c
		}
	}
	next = end
	for next < len(all) && (all[next] == ',' || isSpace(all[next])) {
		next++
	}
	return end, next
}

// cut takes the first at bytes off the value of field i; the field goes when nothing is left.
func (h *Header) cut(i, at int) {
	f := &h.list()[i]
	if at == int(f.valLen) {
		h.remove(i)
	} else {
		h.rewrite(f, 0, at, "")
		h.flags |= oddField
	}
}

// ReplaceFirst replaces the first comma-separated value and reports whether there was one.
func (h *Header) ReplaceFirst(name, value string) bool {
	id := lookupName(name)
	i := h.find(id, name, 0)
	if i < 0 {
		return false
	}
	h.begin()
	f := &h.list()[i]
	all := h.value(f)
	end := len(all)
	if fieldLists[id] {
		if c := commaAt(all); c >= 0 {
			end = c
		}
	}
	h.rewrite(f, 0, end, value)
	h.flags |= oddField
	h.fixLength(id)
	return true
}

// DelFunc removes the comma-separated values (or whole fields of non-list headers) of that name for which f is true, and returns how many.
func (h *Header) DelFunc(name string, f func(value string) bool) int {
	id := lookupName(name)
	n := 0
	for i := h.find(id, name, 0); i >= 0; {
		gone, empty := h.delValues(i, f)
		n += gone
		if empty && gone > 0 {
			h.remove(i)
			i--
		}
		i = h.find(id, name, i+1)
	}
	h.fixLength(id)
	return n
}

// delValues removes values of field i; empty tells that none is left.
func (h *Header) delValues(i int, f func(string) bool) (gone int, empty bool) {
	h.begin()
	fi := &h.list()[i]
	all := h.value(fi)
	if !fieldLists[fi.id] {
		if f(all) {
			return 1, true
		}
		return 0, false
	}
	kept := make([]byte, 0, len(all))
	for v, rest := "", all; rest != ""; {
		v, rest = cutComma(rest)
		switch {
		case v == "":
		case f(v):
			gone++
		default:
			if len(kept) > 0 {
				kept = append(kept, ", "...)
			}
			kept = append(kept, v...)
		}
	}
	if gone > 0 && len(kept) > 0 {
		h.rewrite(fi, 0, len(all), string(kept))
		h.flags |= oddField
	}
	return gone, len(kept) == 0
}

// PrependFunc is Prepend with a value that f appends to the bytes it is given, without a string in between.
// f must only append, and keep nothing of the bytes.
func (h *Header) PrependFunc(name string, f func(b []byte) []byte) {
	id, ok := goodName(name)
	if !ok {
		return
	}
	g := h.writeFunc(id, name, f)
	*h.insert(h.topAt(id, name), id) = g
	h.pushed(id)
}

// writeFunc writes a line before there is a field for it, for f may look at the message.
func (h *Header) writeFunc(id fieldID, name string, f func(b []byte) []byte) field {
	g := field{id: id}
	h.shutClean(&g, f(h.open(&g, name)))
	return g
}

// AddFunc is Add with a value that f appends to the bytes it is given, as for PrependFunc.
func (h *Header) AddFunc(name string, f func(b []byte) []byte) {
	id, ok := goodName(name)
	if !ok {
		return
	}
	g := h.writeFunc(id, name, f)
	*h.insert(h.lastAt(id, name), id) = g
	h.fixLength(id)
}

// lastAt is the place behind the last field of that name; without one, where Set puts it.
func (h *Header) lastAt(id fieldID, name string) int {
	if h.first(id) < 0 {
		return h.endAt()
	}
	at := -1
	for i := h.find(id, name, 0); i >= 0; i = h.find(id, name, i+1) {
		at = i + 1
	}
	if at < 0 {
		at = h.endAt()
	}
	return at
}
