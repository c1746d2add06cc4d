"""The aiortc media endpoint: the only importer of aiortc and aioice besides ``meshcall.aio.media``."""
