"""A process of the stack: started, known by its pid, ended."""

import ctypes
import os
import resource
import signal
import subprocess

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Process:
    """Its state: starting, ready, ending, or how it ended."""

    def __init__(self, name, command, environment, is_ready, log):
        self.name, self.is_ready, self.state, self.was_asked = name, is_ready, "starting", False
        self.log = log
        with open(log, "ab") as out:
            # Those before it may have written there, too.
            self.first = out.tell()
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches us alone, and we end the others in their order.
                start_new_session=True,
                preexec_fn=bound_to(os.getpid()),
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
            self.state = self.end_of(self.child.returncode)
        elif self.state == "starting" and self.is_ready():
            self.state = "ready"
        return self.state != before

    def end_of(self, code):
        # HAProxy ends by the signal that it is sent, which is no accident then.
        if self.was_asked and code == -signal.SIGTERM:
            return "ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def said(self):
        """The end of what it has logged, not of what those before it have."""
        return self.log.read_bytes()[self.first :].decode(errors="replace").splitlines()[-10:]

    def end(self, signum=signal.SIGTERM):
        # A replica that is asked twice drains no longer.
        if self.is_there() and (self.state != "ending" or signum != signal.SIGTERM):
            self.state, self.was_asked = "ending", True
            self.child.send_signal(signum)


def bound_to(parent):
    """Run in the child: it dies with us, however we die, and may open as many files as it is allowed to."""

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return prepare
