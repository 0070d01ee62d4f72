"""A pod's configuration and the files it names, laid out below a folder as they lie below the pod's root."""

import re

MOUNTED = r'"(/(?:run/secrets|vault)/[^"]+)"'


def lay_out(manifests, folder):
    """The configuration with the files it names, below a folder as the pod has them below the root."""
    toml = manifests.toml()
    given, mode = mounted(manifests)
    for path in set(re.findall(MOUNTED, toml)):
        at = folder / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(given.get(path) or likely(path))
        at.chmod(mode)
    toml = re.sub(MOUNTED, rf'"{folder}\1"', toml)
    (folder / "fanline.toml").write_text(toml)
    return folder / "fanline.toml"


def mounted(manifests):
    """The files that the chart's own Secrets come to in the pod, and who may read them."""
    volumes = {each["name"]: each for each in manifests.gateway()["spec"]["volumes"]}
    volume = volumes.get("secrets", {"projected": {"sources": [], "defaultMode": 0o440}})["projected"]
    files = {
        f"/run/secrets/fanline/{item['path']}": manifests.secret(source["secret"]["name"], item["key"])
        for source in volume["sources"]
        for item in source["secret"]["items"]
    }
    return files, volume["defaultMode"]


def likely(path):
    """What an operator's own Secret may hold."""
    if path.endswith("keys"):
        return "shop:secret\n"
    return "redis://:secret@redis:6379\n" if path.endswith("url") else "secret\n"
