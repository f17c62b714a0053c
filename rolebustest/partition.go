package rolebustest

import "github.com/nats-io/nats-server/v2/server"

// Isolate cuts the server off from the others of its cluster, while its clients stay connected: a network that is split.
// It lasts until [Server.Rejoin], also while the server is stopped and started. Outside a cluster it changes nothing.
func (s *Server) Isolate() {
	if s.mesh != nil {
		s.mesh.part(s.place)
	}
}

// Rejoin ends [Server.Isolate]: the servers find each other within a second or two; see [Cluster.WaitReady].
func (s *Server) Rejoin() {
	s.tb.Helper()
	if s.mesh == nil {
		return
	}
	if err := onOwnPort(func() error { return s.mesh.join(s.place) }); err != nil {
		s.tb.Fatalf("rolebustest: the routes of %s: %v", s.name, err)
	}
}

// Kill stops the server so that the others of its cluster see what they see when a process is killed: connections that
// end without a word. Nobody can write to the streams that it led until the others have elected new leaders, which takes
// them 4 to 9 seconds, and as long again if their votes split. Outside a cluster it is [Server.Stop].
func (s *Server) Kill() {
	s.tb.Helper()
	if s.mesh == nil || s.mesh.isApart(s.place) {
		s.Stop()
		return
	}
	s.mesh.part(s.place)
	s.Stop()
	s.Rejoin() // for the next start
}

// member returns the server if it is up and with the others.
func (s *Server) member() *server.Server {
	if s.mesh != nil && s.mesh.isApart(s.place) {
		return nil
	}
	return s.running()
}
