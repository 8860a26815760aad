package dialog

import "sync"

// maxWorkers bounds what is done at once about dialogs that expire or are probed: each may wait for an answer to a BYE for 32 s.
const maxWorkers = 256

// workers do jobs that wait, on goroutines that exist only while there are any.
type workers struct {
	mu     sync.Mutex
	jobs   []func()
	active int
}

func (w *workers) do(job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, job)
	if w.active < maxWorkers {
		w.active++
		go w.run()
	}
}

func (w *workers) run() {
	for {
		w.mu.Lock()
		if len(w.jobs) == 0 {
			w.active--
			w.jobs = nil
			w.mu.Unlock()
			return
		}
		job := w.jobs[0]
		w.jobs[0] = nil
		w.jobs = w.jobs[1:]
		w.mu.Unlock()
		job()
	}
}
