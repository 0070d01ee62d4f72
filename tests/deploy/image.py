"""What the tests of the image share: the Dockerfile's stages, what reaches a builder, and a root like the image's."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from conftest import ROOT, run

# What Debian's libc6 and libgcc-s1 bring: the last stage's base has both.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

# Bind-mounts a root onto itself, read-only and with the kernel's file systems, and becomes the program in it. As root
# it takes the user's number; anybody else does it in a user namespace, where the number is mapped.
ENTER = """
set -e
root=$1 directory=$2
shift 2
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec unshare $BECOME --root "$root" --wd "$directory" -- "$@"
"""


def stages():
    """The stages of the Dockerfile, each a list of instructions and their arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if line[0] == "FROM"] + [len(lines)]
    return [lines[begin:end] for begin, end in zip(starts, starts[1:])]


def last_stage():
    """The arguments of the last stage, by instruction."""
    last = {}
    for instruction, argument in stages()[-1]:
        last.setdefault(instruction, []).append(argument)
    return last


def context():
    """The files that .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    return {name for name in tracked if (ROOT / name).is_file() and passes(name, patterns)}


def passes(name, patterns):
    """Whether a path passes a .dockerignore: of the patterns that fit it, or what it lies in, the last one holds."""
    parts = Path(name).parts
    ways = [parts[:length] for length in range(1, len(parts) + 1)]
    through = True
    for pattern in patterns:
        wanted = pattern.lstrip("!").split("/")
        if any(len(way) == len(wanted) and all(map(fnmatch.fnmatchcase, way, wanted)) for way in ways):
            through = pattern.startswith("!")
    return through


def linked(binary):
    """The libraries that a program is linked to, by name, as they lie on this machine."""
    lines = [line.split(" (")[0].strip() for line in run("ldd", binary).splitlines()]
    paths = [Path(line.split("=> ")[-1]) for line in lines if "/" in line]
    return {path.name: path for path in paths}


class Image:
    """The last stage, laid out below a directory: its own files, and what the binary needs of the base."""

    def __init__(self, root, binary):
        self.root, self.stage = root, last_stage()
        for copy in self.stage["COPY"]:
            *sources, target = [word for word in shlex.split(copy) if not word.startswith("--")]
            for source in sources:
                self.bring(binary if "--from=binary" in copy else ROOT / source, target)
        for path in linked(binary).values():
            self.bring(path, str(path))
        for directory in ["proc", "dev", self.workdir.lstrip("/")]:
            (root / directory).mkdir(parents=True, exist_ok=True)

    def bring(self, source, target):
        """Copies a file to where an instruction says: into a directory where that ends in a slash."""
        path = self.root / target.lstrip("/")
        path = path / source.name if target.endswith("/") else path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)

    @property
    def workdir(self):
        return self.stage["WORKDIR"][-1]

    @property
    def serve(self):
        """What a container runs where nothing else is said."""
        return json.loads(self.stage["ENTRYPOINT"][-1]) + json.loads(self.stage["CMD"][-1])

    @property
    def healthcheck(self):
        """What the engine asks."""
        return json.loads(self.stage["HEALTHCHECK"][-1].split(" CMD ")[1])

    def start(self, command, variables):
        """Starts a command as an engine would with --read-only: as the image's user, with nothing but these variables."""
        user, group = self.stage["USER"][-1].split(":")
        root = os.geteuid() == 0
        become = f"-S {user} -G {group}" if root else f"-U --map-user={user} --map-group={group}"
        enter = ["unshare", "-m"] if root else ["unshare", "-Urm"]
        return subprocess.Popen(
            [*enter, "sh", "-c", ENTER, "sh", self.root, self.workdir, *command],
            env={"PATH": os.environ["PATH"], "BECOME": become, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def health(self, variables):
        """What the health check ends with, and says."""
        asked = self.start(self.healthcheck, variables)
        said, _ = asked.communicate(timeout=30)
        return asked.returncode, said
