"""Finding peers: what is announced on a LAN, and what is known of where a peer is."""
