"""Sources and sinks: files, cameras, the test picture, recordings. Decoding never runs on the loop."""
