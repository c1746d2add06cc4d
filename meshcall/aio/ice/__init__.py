"""The shell around ICE agents: sockets, timers, relays."""
