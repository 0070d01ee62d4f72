"""The proxies' configurations of examples/operate/proxies, started as they are. Replaced are addresses and ports,
certificates, and limits that a small machine's descriptors do not allow; what a beating heart has to outlive is
shortened, as is the heart."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess

from conftest import need
from guides_world import OPERATE, rewrite
from programs import Program
from websockets.asyncio.client import connect
from world import free_ports

# heartbeat.every and the proxies' timeouts are divided by this: 25 s to 1.25 s, 120 s to 6 s.
FASTER = 20

UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


def original(file):
    return (OPERATE / "proxies" / file).read_text(encoding="utf-8")


class Site:
    """Where a proxy is tried: a folder, the ports of its replicas (at 127.0.0.11 and 12), a certificate, free ports."""

    def __init__(self, home, ports, tls):
        self.home, self.tls, (self.port, self.other) = home, tls, free_ports(2)
        self.public, self.internal = ports

    def write(self, file, substitutions):
        """A configuration, fit for here."""
        text = re.sub(r"\b(60|120)s\b", lambda found: f"{int(found[1]) // FASTER}s", original(file))
        (self.home / file).write_text(rewrite(text, substitutions), encoding="utf-8")
        return self.home / file


class Front:
    """A proxy that runs, and how clients come through it: by TLS, where it has a door for that."""

    def __init__(self, program, port, tls=True):
        self.program, self.port, self.name = program.takes(port), port, program.log_file.stem
        self.ends = {"ssl": UNCHECKED} if tls else {}
        self.secure = "s" if tls else ""

    def socket(self, path, **options):
        """A WebSocket that answers pings, and says nothing else of its own accord."""
        url = f"ws{self.secure}://127.0.0.1:{self.port}{path}"
        return connect(url, proxy=None, ping_interval=None, open_timeout=15, **self.ends, **options)

    def stream(self, path):
        """An event stream, as curl prints it."""
        url = f"http{self.secure}://127.0.0.1:{self.port}{path}"
        command = [need("curl"), "-skNi", "--noproxy", "*", "--max-time", "60", url]
        return asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)


def checked(complaint, *command):
    """What the proxy itself says to its configuration: nothing to complain of."""
    said = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and complaint not in said.stderr, said.stdout + said.stderr


def nginx(site):
    file = site.write("nginx.conf", {
        "10.0.0.": "127.0.0.",
        ":8080 ": f":{site.public} ",
        "listen 80 ": f"listen 127.0.0.1:{site.other} ",
        "listen 443 ": f"listen 127.0.0.1:{site.port} ",
        "/etc/nginx/tls/example.com.crt": site.tls[0],
        "/etc/nginx/tls/example.com.key": site.tls[1],
        "worker_rlimit_nofile 262144": "worker_rlimit_nofile 4096",
        "worker_connections 131072": "worker_connections 2048",
    })
    here = f"daemon off; pid {site.home}/nginx.pid;"
    command = [need("nginx"), "-p", site.home, "-c", file, "-e", "stderr", "-g", here]
    checked("[warn]", *command, "-t")
    return Front(Program(site.home, "nginx", *command), site.port)


def haproxy(site):
    pem = site.home / "example.com.pem"
    pem.write_text(site.tls[0].read_text() + site.tls[1].read_text())
    file = site.write("haproxy.cfg", {
        "10.0.0.": "127.0.0.",
        ":8080 ": f":{site.public} ",
        "port 8081 ": f"port {site.internal} ",
        "bind :80 ": f"bind 127.0.0.1:{site.other} ",
        "bind :443 ": f"bind 127.0.0.1:{site.port} ",
        "/etc/haproxy/tls/example.com.pem": pem,
        "maxconn 100000": "maxconn 1000",
    })
    command = [need("haproxy"), "-db", "-f", file]
    checked("WARNING", *command, "-c")
    return Front(Program(site.home, "haproxy", *command), site.port)


def envoy(site):
    file = site.write("envoy.yaml", {
        "10.0.0.": "127.0.0.",
        "port_value: 8080": f"port_value: {site.public}",
        "port_value: 8081": f"port_value: {site.internal}",
        "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {site.port}",
        "port_value: 9901": f"port_value: {site.other}",
        "/etc/envoy/tls/example.com.crt": site.tls[0],
        "/etc/envoy/tls/example.com.key": site.tls[1],
    })
    command = [need("envoy"), "-c", file, "--concurrency", "1", "--disable-hot-restart"]
    checked("deprecated", *command, "--mode", "validate")
    return Front(Program(site.home, "envoy", *command), site.port)


def traefik(site):
    dynamic = site.write("traefik-dynamic.yaml", {
        "10.0.0.": "127.0.0.",
        ":8080\n": f":{site.public}\n",
        "port: 8081": f"port: {site.internal}",
    })
    file = site.write("traefik.yaml", {
        ":80\"": f"127.0.0.1:{site.port}\"",
        "/etc/traefik/traefik-dynamic.yaml": dynamic,
    })
    return Front(Program(site.home, "traefik", TRAEFIK, f"--configFile={file}"), site.port, tls=False)


# Traefik takes ten minutes to build from its source: it is tried where somebody has put it.
TRAEFIK = os.environ.get("TRAEFIK", shutil.which("traefik"))
CUTTING = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}
STARTED_BY = {**CUTTING, **({"traefik": traefik} if TRAEFIK else {})}
