"""The shells: the only package that touches the event loop, sockets, clocks, files and devices."""
