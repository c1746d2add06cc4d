"""aiohttp in the daemon: no certificates for clients, and no trace of how that was done."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys

import pytest

LOADED = """
import json, os, ssl
from meshcall.control.web_library import load_aiohttp
before = dict(os.environ)
load_aiohttp()
import aiohttp.connector as connector
contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED
print(json.dumps({
    "authorities": [context.cert_store_stats()["x509_ca"] for context in contexts],
    "verifies": contexts[0].verify_mode == ssl.CERT_REQUIRED and contexts[0].check_hostname,
    "unchanged": before == dict(os.environ),
    "others": ssl.create_default_context().cert_store_stats()["x509_ca"],
}))
"""
"""Its contexts are private: this fails when another version of aiohttp has none."""


@pytest.mark.parametrize("named", [True, False])
def test_it_trusts_nobody(named: bool) -> None:
    """Whether the environment names certificates or not; who else wants TLS has all of them."""
    paths = ssl.get_default_verify_paths()
    env = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    if named:
        env["SSL_CERT_FILE"] = paths.cafile or paths.openssl_cafile
    command = [sys.executable, "-c", LOADED]
    told = json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    plain = [
        sys.executable,
        "-c",
        "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])",
    ]
    usual = subprocess.run(plain, env=env, capture_output=True, text=True, check=True).stdout
    assert told == {"authorities": [0, 0], "verifies": True, "unchanged": True, "others": int(usual)}
