// Package registrar keeps where users are: the bindings of addresses-of-record (RFC 3261 §10) and the stores they live in.
//
// # Stores
//
// A Store changes the bindings of one address-of-record atomically, looks them up, scans all, and tells changes. Three come with the
// library; package registrartest checks any other.
//
//   - Memory lives and dies with the process. About 400 bytes a binding at a million of them.
//   - Journal is Memory whose changes are appended to a file: a restart finds them again. Write, its default, survives kill -9, Sync the loss of
//     power, Async loses the last moments. A full disk degrades it to memory, with an alarm.
//   - redisstore.Store keeps them in Redis for several nodes.
//
// Bindings expire by their own time: no store returns an expired one, and memory is freed by one timing wheel. RFC 5626 instances and flows, RFC 3327
// paths and RFC 5627 GRUUs are fields of a Binding; stores do not interpret them.
//
//	store, err := registrar.OpenJournal("sipkit-data", registrar.JournalConfig{Logger: slog.Default()})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	err = store.Update(ctx, "jan@example.org", func(old []registrar.Binding) ([]registrar.Binding, error) {
//		return append(slices.Clone(old), registrar.Binding{Contact: contact, Expires: time.Now().Add(time.Hour)}), nil
//	})
package registrar
