"""Nothing leaves the machine: the switches are set before any import, and measuring looks up no host name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from decay.privacy import SWITCHES

ROOT = Path(__file__).parents[2]

WATCHED = """
import json, socket, sys
seen = []
names = [f"socket.{name}" for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "connect", "sendto")]
sys.addaudithook(lambda event, arguments: seen.append((event, repr(arguments))) if event in names else None)
"""
ANSWER = """
during = list(seen)
socket.getaddrinfo("localhost", 80)  # the hook must see this one, or it proves nothing
print(json.dumps({"n": n, "during": during, "control": len(seen) - len(during)}))
"""

MEASURE = f"""
{WATCHED}
from pathlib import Path
from decay.measure import measure
from decay.settings import MeasureSettings
n = measure(Path(sys.argv[1]), MeasureSettings(n_resamples=10)).n_read
{ANSWER}
"""

READ_WITH_A_PACK = f"""
{WATCHED}
import decay
from pathlib import Path
from skimage import data
from detectors.embedder import open_embedder
from detectors.reader import Reader
from detectors.vision import Vision
with Reader(Vision(), open_embedder("small", Path(sys.argv[1]))) as reader:
    n = len(reader.read(data.astronaut()).faces[0]["face_embedding"])
{ANSWER}
"""

# Root of its own network, where a socket of this process is the only name server: what native code asks, also
# while it exits, arrives here.
TRAP = """
import fcntl, json, socket, struct, subprocess, sys, tempfile
with socket.socket() as control, tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
    fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: bring the loopback up
    resolver.write("nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n")
    resolver.flush()
    subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
    name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    name_server.bind(("127.0.0.1", 53))
    name_server.setblocking(False)

    def questions():
        found = []
        while True:
            try:
                found.append(repr(name_server.recv(512)[12:]))
            except BlockingIOError:
                return found

    child = subprocess.run([sys.executable, "-c", *sys.argv[1:]], capture_output=True, text=True)
    during = questions()
    try:
        socket.getaddrinfo("example.org", 80)  # the trap must catch this one, or it proves nothing
    except OSError:
        pass
    print(json.dumps({"child": child.stdout, "errors": child.stderr, "during": during, "control": len(questions())}))
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A lineage of two generations, one photograph each, of one person."""
    pixels = data.astronaut()[:, :, ::-1]
    for generation in range(2):
        folder = tmp_path / "run" / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), np.roll(pixels, 8 * generation, axis=1))
    return tmp_path / "run"


def python(script: str, *arguments: str, prefix: tuple[str, ...] = ()) -> dict[str, object]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in SWITCHES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def test_importing_decay_sets_every_switch_before_any_vendor_is_loaded() -> None:
    script = """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "0"
import decay
vendors = [name for name in ("onnxruntime", "insightface", "mediapipe", "huggingface_hub") if name in sys.modules]
print(json.dumps({"switches": dict(os.environ), "vendors": vendors}))
"""
    answer = python(script)
    switches = answer["switches"]
    assert isinstance(switches, dict)
    assert {name: switches[name] for name in SWITCHES} == SWITCHES
    assert answer["vendors"] == []


def test_a_worker_started_afresh_has_the_switches() -> None:
    script = """
import json, multiprocessing, os
if __name__ == "__main__":
    import decay
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps({"value": pool.apply(os.getenv, ("ORT_DISABLE_TELEMETRY",))}))
"""
    assert python(script)["value"] == "1"


def test_measuring_asks_python_for_no_connection(run: Path) -> None:
    assert python(MEASURE, str(run)) == {"n": 2, "during": [], "control": 1}


@pytest.mark.validation
def test_reading_with_a_pack_looks_up_no_name_even_in_native_code(validation_data: Path) -> None:
    """onnxruntime's telemetry lives in native code, which Python's audit events do not see."""
    root = str(validation_data / "models" / "insightface")
    answer = python(TRAP, READ_WITH_A_PACK, root, prefix=namespace())
    assert answer["during"] == []
    assert isinstance(answer["control"], int)
    assert answer["control"] >= 1
    assert answer["child"], answer["errors"]
    child = json.loads(str(answer["child"]).strip().splitlines()[-1])
    assert child == {"n": 128, "during": [], "control": 1}


def namespace() -> tuple[str, ...]:
    """How to start a program as root of its own network and mounts; skips where the kernel forbids it."""
    prefix = ("unshare", "--map-root-user", "--net", "--mount")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine allows no network namespaces")
    return prefix
