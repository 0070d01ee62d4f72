"""What the guides' tests share: where the guides lie, and what a configuration has to be given to run here."""

import subprocess
from pathlib import Path

from conftest import ROOT, need

OPERATE = ROOT / "examples" / "operate"


def rewrite(text, substitutions):
    """The text with what a test has to replace. What is not in it is a mistake of the test."""
    for old, new in substitutions.items():
        assert old in text, f"{old!r} is not in\n{text}"
        text = text.replace(old, str(new))
    return text


def certificate(home):
    """A certificate of localhost and 127.0.0.1 that signs itself: the paths of it and its key."""
    crt, key = Path(home) / "tls.crt", Path(home) / "tls.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = [need("openssl"), "req", "-x509", *curve, "-subj", "/CN=localhost", "-addext", names]
    subprocess.run([*command, "-keyout", key, "-out", crt], check=True, capture_output=True)
    return crt, key
