"""What the chart made up at install it finds again at an upgrade.

Helm asks an API server; this one knows Secrets and nothing else, since a real one is not to be had on every machine.
"""

import contextlib
import http.server
import json
import threading
from base64 import b64encode

from charts import helm, parse

DISCOVERY = {
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get"]}
        ],
    }
}


@contextlib.contextmanager
def cluster(secrets):
    """An API server with these Secrets (name → item → text); yields its address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            found = DISCOVERY.get(path) or secret(path, secrets)
            body = json.dumps(
                found or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            ).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def secret(path, secrets):
    folder, _, name = path.rpartition("/")
    if folder != "/api/v1/namespaces/apps/secrets" or name not in secrets:
        return None
    data = {item: b64encode(text.encode()).decode() for item, text in secrets[name].items()}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


def made(secrets, *arguments):
    with cluster(secrets) as address:
        return parse(helm("--set=trialRedis.enabled=true", "--dry-run=server", "--kube-apiserver", address, *arguments))


OLD = {"rel-fanline": {"api-keys": "helm:old"}, "rel-fanline-redis": {"password": "old"}}


def test_an_upgrade_keeps_what_was_made_up():
    manifests = made(OLD)
    assert manifests.secret("rel-fanline", "api-keys") == "helm:old"
    assert manifests.secret("rel-fanline-redis", "password") == "old"


def test_an_install_makes_it_up():
    manifests = made({})
    assert len(manifests.secret("rel-fanline", "api-keys")) == 45
    assert len(manifests.secret("rel-fanline-redis", "password")) == 40


def test_what_the_values_say_wins_over_what_was_made_up():
    manifests = made(OLD, "--set=secrets.apiKeys.value=shop:new,trialRedis.password=new")
    assert manifests.secret("rel-fanline", "api-keys") == "shop:new"
    assert manifests.secret("rel-fanline-redis", "password") == "new"
