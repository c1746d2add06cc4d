"""Calls whose media are a browser's: the page has the camera and the peer connection, the daemon the rest."""
