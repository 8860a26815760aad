package sipproxy

// A goroutine is the portable task: a goroutine of its own and a wake-up for each wait.
type goroutine struct {
	s   *Server
	ch  chan struct{}
	gid uint64
}

func (g *goroutine) start(work job) {
	go func() {
		defer g.s.tasks.done()
		if g.s.strict != nil {
			g.gid = goroutineID()
		}
		work.run()
	}()
}

func (g *goroutine) park()          { <-g.ch }
func (g *goroutine) wake()          { g.ch <- struct{}{} }
func (g *goroutine) block(f func()) { f() }
func (g *goroutine) last(j job)     { j.run() }
func (g *goroutine) outside(j job) {
	if j.run() {
		g.park()
	}
}

func (g *goroutine) id() uint64 { return g.gid }
