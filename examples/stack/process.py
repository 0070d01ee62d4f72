"""A process of the stack: started, known by its pid, ended."""

import ctypes
import http.client
import os
import resource
import signal
import socket
import subprocess
import urllib.request

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Process:
    """Its state: starting, ready, ending, or how it ended."""

    def __init__(self, name, command, log, is_ready, environment=None):
        self.name, self.is_ready, self.state = name, is_ready, "starting"
        # In a session of its own: Ctrl-C reaches us alone, and we end the others in their order.
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=bind_to(os.getpid()),
            )

    @property
    def pid(self):
        return self.child.pid

    def is_there(self):
        return self.child.poll() is None

    def look(self):
        """Notes how it is; answers whether that changed."""
        before = self.state
        if not self.is_there():
            code = self.child.returncode
            self.state = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        elif self.state == "starting" and self.is_ready():
            self.state = "ready"
        return self.state != before

    def end(self, signum=signal.SIGTERM):
        if self.is_there():
            self.state = "ending"
            self.child.send_signal(signum)


def bind_to(parent):
    """Run in the child: it dies with us, however we die, and may open as many files as it is allowed to."""

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return prepare


def answers(url):
    """Whether it answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def pongs(port):
    """Whether a Redis answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as redis:
            redis.settimeout(2)
            redis.sendall(b"PING\r\n")
            return redis.recv(16).startswith(b"+PONG")
    except OSError:
        return False
