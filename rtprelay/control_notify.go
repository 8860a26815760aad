package rtprelay

type notifyTarget struct{}

func (n *notifyTarget) send() {}
