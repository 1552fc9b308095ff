"""A real Chromium, driven over its own protocol with nothing but the standard library."""

import importlib.util
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60
"""Seconds; a cold start on a busy host takes ten."""
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
)


class Browser:
    """One window.

    Args:
        base: Address of the session.
    """

    def __init__(self, base: str) -> None:
        self.base = base

    def open(self, path: Path) -> None:
        ask(f"{self.base}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> object:
        """Run a script in the page; return what it returns."""
        return ask(f"{self.base}/execute/sync", {"script": script, "args": list(arguments)})

    def run_later(self, script: str) -> object:
        """Run a script whose last argument is to be called with the answer."""
        return ask(f"{self.base}/execute/async", {"script": script, "args": []})

    def command(self, name: str, **parameters: object) -> object:
        """Give a command of the browser's own protocol."""
        return ask(f"{self.base}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def look_like(self, *, media: str = "", scheme: str = "light", width: int = 1200) -> None:
        """Show the page on paper, in the dark, on a narrow window."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip


def ask(address: str, body: object, method: str = "POST") -> object:
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        return json.load(answer)["value"]


def lack() -> str:
    """Say why there is no browser, `""` where there is one."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} missing (apt-get install chromium-driver)" if missing else ""


def axe_source() -> str | None:
    """Return the source of axe-core, None where it is not installed."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "axe.min.js"
    return path.read_text(encoding="utf-8") if path.exists() else None


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile in this folder; end it and all that it started."""
    driver = subprocess.Popen(
        [shutil.which("chromedriver") or "", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    session = ""
    try:
        base = f"http://127.0.0.1:{_port(driver)}/session"
        arguments = [*FLAGS, f"--user-data-dir={folder}"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        answer = ask(base, wanted)
        session = f"{base}/{answer['sessionId']}"
        yield Browser(session)
    finally:
        if session:
            ask(session, {}, "DELETE")
        driver.terminate()
        driver.wait(START_SECONDS)
        driver.stdout.close()


def _port(driver: "subprocess.Popen[str]") -> str:
    for line in driver.stdout:
        found = re.search(r"started successfully on port (\d+)", line)
        if found:
            return found[1]
    raise RuntimeError("chromedriver said no port")
