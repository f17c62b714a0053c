package discovery

type gossipOptions struct{}
