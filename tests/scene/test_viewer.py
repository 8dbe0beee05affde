"""The page with the live field, in a headless Chromium, and what its thread does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from balls import BLUE, RED, Ball, BallRenderer, Balls
from chromium import PROGRAM, Page

from modeseek.cameras import Cameras, turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Rendered
from modeseek.scene.mesh import Mesh, extract
from modeseek.scene.viewer import HEIGHTS, Viewer

pytest.importorskip("viser")
PAIR = (Ball((0.45, 0.0, 0.0), 0.4, RED), Ball((-0.45, 0.0, 0.0), 0.4, BLUE))  # red at the object's left


class Scene:
    """A field that notes what is asked of it, and by which thread."""

    def __init__(self) -> None:
        self.step, self.loads, self.threads = 0, list[int](), set[str]()
        self.seen: list[tuple[Cameras, int, int]] = []
        self.balls = PAIR

    def load(self, step: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.loads.append(step)
        if step == 13:
            raise UsageError("step 13 is damaged")
        self.step = step
        self.balls = PAIR if step >= 20 else tuple(reversed([Ball(b.centre, 0.2, b.colour) for b in PAIR]))

    def render(self, cameras: Cameras, height: int, width: int) -> Rendered:
        self.threads.add(threading.current_thread().name)
        self.seen.append((cameras, height, width))
        if float(cameras.distance) < 1:
            raise UsageError("a camera must stand outside")
        return BallRenderer(self.balls)(cameras, height, width)

    def mesh(self, resolution: int) -> Mesh:
        self.threads.add(threading.current_thread().name)
        return extract(Balls(*self.balls), resolution=resolution)


def until(done: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def viewer(scene: Scene) -> Iterator[Viewer]:
    made = Viewer(
        scene.render,
        port=0,
        mesh=scene.mesh,
        checkpoints=(10, 20, 30),
        load=scene.load,
        cameras=turntable(3, distance=6.0),
        resolution=40,
    )
    yield made
    made.close()


def like(picture: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Where the picture is nearly of a colour."""
    return np.abs(picture / 255 - np.array(colour)).max(-1) < 0.13


def columns(picture: np.ndarray, colour: tuple[float, float, float]) -> float:
    """The middle of a colour, from the left."""
    return float(np.argwhere(like(picture, colour)).mean(0)[1])


@pytest.fixture
def page(viewer: Viewer, tmp_path: Path) -> Iterator[Page]:
    if PROGRAM is None:
        pytest.skip("no Chromium or Chrome is installed")
    made = Page(viewer.url, tmp_path / "profile")
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:Queued a:UserWarning")  # viser's, for a picture that comes after the visitor left
def test_the_browser_shows_the_object(viewer: Viewer, scene: Scene, page: Page) -> None:
    """Field, mesh, orbit, checkpoint; set KEEP to a folder to look at the pictures."""
    pytest.importorskip("skimage")
    pytest.importorskip("trimesh")
    shots = {}

    def shown(name: str, least: int = 3000) -> np.ndarray:
        def there() -> bool:
            shots[name] = page.screenshot()
            return bool(like(shots[name], RED).sum() > least < like(shots[name], BLUE).sum())

        until(there)
        return shots[name]

    # viser's own first camera comes before ours
    until(lambda: scene.seen and abs(float(scene.seen[-1][0].distance) - 3.09) < 0.01 and scene.seen[-1][1] == 320)
    until(
        lambda: columns(shown("field"), RED) > columns(shots["field"], BLUE) + 100
    )  # its left is right in the picture
    field = shots["field"]
    camera, height, width = scene.seen[-1]
    assert width / height == pytest.approx(field.shape[1] / field.shape[0], rel=0.02)
    assert torch.allclose(camera.pose[0, :3, 0], torch.tensor([1.0, 0, 0]), atol=1e-3)  # upright, in front
    assert float(camera.elevation) == pytest.approx(14, abs=1)
    assert [h for _, h, _ in scene.seen[-3:]] == list(HEIGHTS)  # coarse first

    viewer._shown.value = "mesh"
    until(lambda: "mesh of" in viewer._status.content)
    mesh = shown("mesh")
    same = (like(mesh, RED) == like(field, RED)) & (like(mesh, BLUE) == like(field, BLUE))
    assert same.mean() > 0.97  # at the same place as the field's picture
    viewer._shown.value = "field"

    page.drag((300, 400), (500, 400))  # the camera goes to the object's right
    until(lambda: float(scene.seen[-1][0].azimuth) < -10)
    assert float(scene.seen[-1][0].distance) == pytest.approx(float(camera.distance), rel=0.01)

    page.script("document.querySelector('[role=slider]').focus()")
    page.press("Home", 36)
    until(lambda: scene.step == 10)
    until(lambda: "step 10" in viewer._status.content and len(scene.seen) > 8)
    small = shown("checkpoint", 300)
    assert like(small, RED).sum() < 0.5 * like(field, RED).sum()

    for _ in range(16):
        page.wheel((300, 400), -200)
    until(lambda: "a camera must stand outside" in viewer._status.content)  # and the page lives on
    for _ in range(16):
        page.wheel((300, 400), 200)
    until(lambda: "pixels" in viewer._status.content)

    assert page.hosts() == {"127.0.0.1"}
    assert scene.loads == [30, 10]
    assert scene.threads == {"modeseek-viewer"}
    assert viewer.failure is None
    if folder := os.environ.get("KEEP"):
        from PIL import Image

        for name, shot in shots.items():
            Image.fromarray(shot).save(Path(folder) / f"{name}.png")


def test_the_last_checkpoint_is_loaded_and_a_newer_one_followed(viewer: Viewer, scene: Scene) -> None:
    until(lambda: scene.loads == [30])
    viewer.extend((10, 20, 30, 40))
    until(lambda: scene.loads == [30, 40])
    viewer._slider.value = 1
    until(lambda: scene.loads == [30, 40, 20])
    viewer.extend((10, 20, 30, 40, 50))  # who looks at an older one stays there
    time.sleep(0.3)
    assert (scene.loads, viewer._slider.value) == ([30, 40, 20], 1)
    viewer.extend((30, 40, 50))  # the older one is gone
    until(lambda: scene.loads[-1] == 50)


def test_a_checkpoint_that_cannot_be_loaded_is_said(viewer: Viewer, scene: Scene) -> None:
    viewer.extend((10, 13))
    until(lambda: "step 13 cannot be shown: step 13 is damaged" in viewer._status.content)
    viewer.extend((10, 13, 20))
    until(lambda: "step 20, ready" in viewer._status.content)
    assert not viewer.wait(0.01)


def test_an_error_of_the_program_ends_the_page_and_is_raised(scene: Scene) -> None:
    def broken(step: int) -> None:
        raise ZeroDivisionError("a bug")

    viewer = Viewer(scene.render, port=0, checkpoints=(1,), load=broken)
    try:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            viewer.wait(20)
        assert "The viewer has stopped: ZeroDivisionError" in viewer._status.content
    finally:
        viewer.close()


def test_it_closes_and_gives_the_port_back(scene: Scene) -> None:
    viewer = Viewer(scene.render, port=0)
    port = int(viewer.url.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=f"something else listens at 127.0.0.1:{port}"):
        Viewer(scene.render, port=port)
    viewer.close()
    assert viewer.wait(0)
    again = Viewer(scene.render, port=port)
    again.close()


def test_only_one_address_listens(viewer: Viewer) -> None:
    """Who listens everywhere answers at 127.0.0.2 too (on Linux, where all of 127.* is the loopback)."""
    assert viewer.url.startswith("http://127.0.0.1:")
    port = int(viewer.url.rsplit(":", 1)[1])
    with socket.socket() as own, socket.socket() as other:
        own.settimeout(5)
        other.settimeout(1)
        assert own.connect_ex(("127.0.0.1", port)) == 0
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_no_resolution_is_refused(scene: Scene) -> None:
    with pytest.raises(UsageError, match="heights must be at least one number of pixels"):
        Viewer(scene.render, port=0, heights=())
