package registrar

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const (
	// firstWindow and lastWindow are how much of the file is mapped at a time: as much as it holds already, within these.
	firstWindow = 64 << 10
	lastWindow  = 4 << 20
	// fillStep is how much is copied at a time. A process killed meanwhile leaves a beginning, as write(2) does: what copies
	// more at once may begin with the end.
	fillStep = 256
)

// allocate gives the n octets of f from off their place on the disk. Without it a full disk would tell by SIGBUS, not by an error.
func allocate(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, off, n)
		if err != unix.EINTR {
			return err
		}
	}
}

// A mappedFile is a file that is written by copying into its pages in the kernel's cache, where they survive kill -9 as
// what write(2) wrote does. A system call would cost more than the copy: the runtime's monitor thread is woken by each on an idle server.
//
// The file grows a window at a time. The next is made ready in the background while the present one is filled. When that fails,
// because the disk is nearly full or the file system cannot, the rest goes the way of write(2), which tells what is wrong.
// Until Close or Truncate the file ends with zeros. One caller at a time.
type mappedFile struct {
	f        *os.File
	allocate func(f *os.File, off, n int64) error
	size     int64       // octets written
	window   window      // that size lies in, or ends at
	ahead    chan window // the next one, when growing
	growing  bool
	plain    bool // no more windows
}

// A window is a piece of the file in memory, nil: there is none.
type window struct {
	b     []byte
	start int64
}

func (w window) end() int64 { return w.start + int64(len(w.b)) }

// mapFile makes f, size octets long and open for reading and writing, one that Write appends to.
func mapFile(f *os.File, size int64, allocate func(f *os.File, off, n int64) error) file {
	return &mappedFile{f: f, allocate: allocate, size: size, ahead: make(chan window, 1)}
}

// Write implements io.Writer.
func (m *mappedFile) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		switch {
		case m.size < m.window.end():
			k, err = copyInto(m.window.b[m.size-m.window.start:], b[n:])
		case m.plain:
			k, err = m.f.WriteAt(b[n:], m.size)
		default:
			m.advance()
		}
		m.size += int64(k)
		n += k
	}
	return n, err
}

// copyInto copies as much of b as there is room for. A page that the disk does not give after all (it broke, the
// file was cut by someone else) is an error, not the end of the process.
func copyInto(dst, b []byte) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault, ok := recover().(error); ok {
			err = &os.PathError{Op: "write to mapping", Err: fault}
		}
	}()
	for n < len(dst) && n < len(b) {
		n += copy(dst[n:min(n+fillStep, len(dst))], b[n:])
	}
	return n, nil
}

// advance goes on to the next window, or without.
func (m *mappedFile) advance() {
	done := m.window
	if m.growing {
		m.window, m.growing = <-m.ahead, false
	} else {
		m.window = m.open(m.size)
	}
	if m.window.b == nil {
		m.plain = true
		done.release()
		return
	}
	m.growing = true
	go func(off int64) {
		done.release()
		m.ahead <- m.open(off)
	}(m.window.end())
}

// open maps the window that off lies in.
func (m *mappedFile) open(off int64) window {
	page := int64(os.Getpagesize())
	start := off / page * page
	length := min(max(start, firstWindow), lastWindow) / page * page
	if m.allocate(m.f, start, length) != nil {
		return window{}
	}
	b, err := unix.Mmap(int(m.f.Fd()), start, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return window{}
	}
	_ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) // Linux 5.14; before, each page costs a fault when it is met
	return window{b, start}
}

func (w window) release() {
	if w.b != nil {
		_ = unix.Munmap(w.b) // cannot fail: it was mapped so
	}
}

// unmap gives up all windows.
func (m *mappedFile) unmap() {
	m.window.release()
	m.window = window{start: m.size}
	if m.growing {
		(<-m.ahead).release()
		m.growing = false
	}
}

// Truncate cuts the file, what was made ready for more included. Writing goes on there.
func (m *mappedFile) Truncate(size int64) error {
	m.unmap()
	m.size = size
	m.window.start = size
	return m.f.Truncate(size)
}

// direct: as long as there are windows.
func (m *mappedFile) direct() bool { return !m.plain }

// Sync implements file: it flushes what was copied into the mapping too.
func (m *mappedFile) Sync() error { return m.f.Sync() }

// Close cuts off what was made ready and not used.
func (m *mappedFile) Close() error {
	err := m.Truncate(m.size)
	if e := m.f.Close(); err == nil {
		err = e
	}
	return err
}
