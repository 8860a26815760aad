package registrar

import "context"

// Most REGISTERs say again what is stored, with later times and a higher CSeq or another Call-ID. Memory and Journal recognize them by their
// packed form and put the new one in the place of the old, without making bindings of what is there; everything else goes by Update.

// refresh stores the registration if it is such a one and the store can tell; false: nothing was done.
func (g *Registrar) refresh(ctx context.Context, reg *registration) (done bool, err error) {
	if len(reg.contacts) != 1 || reg.star || reg.limit <= 0 {
		return false, nil
	}
	switch s := g.Store.(type) {
	case *Memory:
		_, done = s.refresh(reg)
	case *Journal:
		done, err = s.refresh(ctx, reg)
	}
	if done {
		reg.next = reg.contacts
	}
	return done, err
}

func (j *Journal) refresh(ctx context.Context, reg *registration) (done bool, err error) {
	if j.cfg.Mode == Sync {
		return false, nil
	}
	mark, done := j.mem.refresh(reg)
	if !done {
		return false, nil
	}
	return true, j.written(ctx, mark)
}

// refresh is swap for a registration of one contact; mark is as of update.
func (m *Memory) refresh(reg *registration) (mark uint64, done bool) {
	b, aor := &reg.contacts[0], reg.aor
	sh, hash := m.at(aor)
	reg.packed = append(appendText(reg.packed[:0], aor), stateVersion)
	reg.packed = appendBinding(reg.packed, b)
	packed := reg.packed[textHeader+len(aor):]
	expires, now := unixNano(b.Expires), unixNano(reg.now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := sh.find(hash, aor)
	if at == nowhere {
		return 0, false // a closed store is empty, too
	}
	slot := &sh.index.slots[at]
	e := &sh.entries[slot.place]
	old := slot.text.state()
	// Filed in the wheel under an earlier time it stays there until that comes.
	if e.slot == slotNone || ticksAt(expires) < e.when || expires <= now || !refreshes(old, packed, b, now) {
		return 0, false
	}
	slot.text = makeText(reg.packed, len(aor))
	return m.tell(slot.text, old, now), true
}

// refreshes reports whether next, the packed form of b alone, is what a REGISTER for the only binding in old makes of it: they differ in
// nothing but times, flags, CSeq and perhaps Call-ID, and the order of §10.3 step 7 is kept.
func refreshes(old string, next []byte, b *Binding, now int64) bool {
	const start, fixed = 1 + 4, recordFixed
	if len(old) <= start+fixed || old[0] != stateVersion || int(be32(old[1:]))+start != len(old) {
		return false
	}
	was, is := old[start:], next[start:]
	if recordExpires(was) <= now || was[regIDAt:regIDAt+4] != string(is[regIDAt:regIDAt+4]) {
		return false
	}
	u := &b.Contact
	n := len(u.Scheme) + len(u.User) + len(u.Password) + len(u.Host) + len(u.Params) + len(u.Headers) + len(u.Opaque)
	if n >= 0x80 || len(b.CallID) >= 0x80 {
		return false // the lengths of texts take a byte each below
	}
	id := fixed + 7 + n // where the Call-ID is
	if len(was) <= id || was[fixed:id] != string(is[fixed:id]) {
		return false
	}
	wasID := int(was[id])
	if wasID >= 0x80 || len(was) < id+1+wasID || was[id+1+wasID:] != string(is[id+1+len(b.CallID):]) {
		return false
	}
	return was[id+1:id+1+wasID] != b.CallID || be32(was[cseqAt:]) < b.CSeq
}

// Where these lie in a record.
const cseqAt, regIDAt = 20, 24
