"""What a call sends, records and reports about its media; no codec, no socket, no clock."""
