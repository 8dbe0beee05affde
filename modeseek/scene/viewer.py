"""A page in the browser with the live field: what its camera sees, the mesh, the cameras, and the checkpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from modeseek.cameras import Cameras
from modeseek.errors import ModeseekError, UsageError
from modeseek.generators.nerf.base import Rendered
from modeseek.pictures import to_bytes
from modeseek.scene.browser import HOST, add_frustums, depth_along, from_viser, refuse_taken, taken
from modeseek.scene.export import encode
from modeseek.scene.mesh import Mesh

HEIGHTS = (48, 128, 320)  # of the pictures, one after the other while the camera rests
FIELD, MESH = "field", "mesh"


class Viewer:
    """A viser page on the loopback that shows a field from where the visitor looks, coarse first, then finer.

    One thread of its own calls ``load``, ``mesh`` and ``render``, so that they never meet; each visitor has a camera of
    their own. The page asks no other host for anything.

    Args:
        render: cameras, height, width -> pictures of the field as it is loaded now, from anywhere outside the cube.
        port: to listen at; 0 takes a free one.
        mesh: resolution -> mesh of the field as it is loaded now; None shows no mesh.
        checkpoints: steps that can be loaded, ascending; the last is shown first.
        load: a step -> loads that checkpoint; None shows the field as it is.
        cameras: drawn as frustums, such as those of a run.
        resolution: of the mesh.
        heights: of the pictures, in pixels, from coarse to fine.

    Raises:
        UsageError: if the port is taken or may not be used, there is no height, or viser is missing.
    """

    def __init__(
        self,
        render: Callable[[Cameras, int, int], Rendered],
        *,
        port: int = 8080,
        mesh: Callable[[int], Mesh] | None = None,
        checkpoints: Sequence[int] = (),
        load: Callable[[int], None] | None = None,
        cameras: Cameras | None = None,
        resolution: int = 96,
        heights: Sequence[int] = HEIGHTS,
    ) -> None:
        if not heights or min(heights) < 1:
            raise UsageError(f"heights must be at least one number of pixels, got {tuple(heights)}")
        try:
            import viser
        except ImportError as error:
            raise UsageError('viser must be installed to view a run: pip install "modeseek[three-d]"') from error
        self._render, self._mesh, self._load = render, mesh, load
        self._resolution, self._heights = resolution, tuple(heights)
        self._steps = tuple(checkpoints) if load else ()
        self._wanted = self._steps[-1] if self._steps else None
        self._loaded: int | None = None
        self._about_step = ""
        self._meshed, self._about_mesh = False, ""  # whether the mesh on the page is that of the field
        self._glb: Any = None
        self._waiting: dict[int, int] = {}  # which of the heights comes next, by visitor
        self._changed, self._closed = threading.Condition(), False
        self.failure: Exception | None = None
        refuse_taken(port)
        self._server = viser.ViserServer(host=HOST, port=port, label="modeseek", verbose=False)
        if port and self._server.get_port() != port:  # taken in the meantime: viser goes on to the next
            self._server.stop()
            raise UsageError(taken(port))
        self._furnish(cameras)
        self._thread = threading.Thread(target=self._work, name="modeseek-viewer", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self._server.get_port()}"

    def extend(self, checkpoints: Sequence[int]) -> None:
        """There are other checkpoints now; whoever looked at the last one goes on to the new last one."""
        with self._changed:
            newest = not self._steps or self._wanted == self._steps[-1]
            if not checkpoints or self._load is None or tuple(checkpoints) == self._steps:
                return
            self._steps = tuple(checkpoints)
            at = len(self._steps) - 1 if newest or self._wanted not in self._steps else self._steps.index(self._wanted)
        self._slider.max, self._slider.disabled = max(1, len(self._steps) - 1), len(self._steps) < 2
        self._slider.value = at
        self._choose(at)

    def wait(self, seconds: float | None = None) -> bool:
        """Until the page is closed, or for some seconds; whether it is closed.

        Raises:
            Exception: what ended the thread that renders, if it was nothing that a visitor can mend.
        """
        self._thread.join(seconds)
        if self.failure is not None:
            raise self.failure
        return not self._thread.is_alive()

    def close(self) -> None:
        """Close the page; the picture that is being rendered is still finished."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._server.stop()

    def _furnish(self, cameras: Cameras | None) -> None:
        """The parts of the page, and what happens when they are touched."""
        server = self._server
        server.scene.set_up_direction("+y")
        server.scene.configure_environment_map(None)
        server.gui.configure_theme(show_logo=False, show_share_button=False)
        server.initial_camera.position, server.initial_camera.look_at = (0.0, 0.75, 3.0), (0.0, 0.0, 0.0)
        server.initial_camera.fov = np.deg2rad(40.0)
        last = max(1, len(self._steps) - 1)
        self._status = server.gui.add_markdown("")
        self._slider = server.gui.add_slider(
            "checkpoint", 0, last, 1, max(0, len(self._steps) - 1), disabled=len(self._steps) < 2
        )
        self._shown = server.gui.add_dropdown("show", (FIELD, MESH) if self._mesh else (FIELD,))
        self._slider.on_update(lambda _: self._choose(int(self._slider.value)))
        self._shown.on_update(lambda _: self._again())
        frustums = add_frustums(server, cameras) if cameras is not None else []
        if frustums:
            box = server.gui.add_checkbox("cameras", True)
            box.on_update(lambda _: show(frustums, box.value))
        server.on_client_connect(self._enter)
        server.on_client_disconnect(lambda client: self._leave(client.client_id))

    def _enter(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._again(client.client_id))
        self._again(client.client_id)

    def _leave(self, visitor: int) -> None:
        with self._changed:
            self._waiting.pop(visitor, None)

    def _choose(self, index: int) -> None:
        with self._changed:
            self._wanted = self._steps[min(index, len(self._steps) - 1)] if self._steps else None
        self._again()

    def _again(self, visitor: int | None = None) -> None:
        """Start from the coarsest picture, for one visitor or all."""
        with self._changed:
            visitors = self._server.get_clients() if visitor is None else (visitor,)
            self._waiting.update(dict.fromkeys(visitors, 0))
            self._changed.notify()

    def _work(self) -> None:
        """The thread: one piece of work at a time, the coarsest picture first."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._waiting or self._wanted != self._loaded)
                    if self._closed:
                        return
                    visitor = min(self._waiting, key=self._waiting.__getitem__, default=None)
                    level = self._waiting.pop(visitor) if visitor is not None else 0
                    wanted = self._wanted
                try:
                    said = self._piece(wanted, visitor, level)
                except ModeseekError as error:  # a visitor can mend it, with another camera
                    said = str(error)
                self._status.content = said
        except Exception as error:
            self.failure = error
            self._status.content = f"The viewer has stopped: {type(error).__name__}: {error}"

    def _piece(self, wanted: int | None, visitor: int | None, level: int) -> str:
        """Load, make the mesh, or draw, and say what there is now."""
        begun = time.perf_counter()
        if wanted is not None and wanted != self._loaded:
            self._fetch(wanted)
        step = self._about_step
        client = self._server.get_clients().get(visitor)
        if self._shown.value == MESH:
            if client is not None:
                client.scene.set_background_image(None)
            return step + self._show_mesh()
        if self._glb is not None:
            self._glb.visible = False
        if client is None:
            return f"{step}ready"
        width = self._draw(client, self._heights[level])
        if level + 1 < len(self._heights):
            with self._changed:
                self._waiting.setdefault(client.client_id, level + 1)  # unless the camera has moved
        return f"{step}{width} × {self._heights[level]} pixels, {time.perf_counter() - begun:.2f} s"

    def _fetch(self, step: int) -> None:
        """Load a checkpoint, once, also if it fails."""
        self._loaded, self._meshed, self._about_step = step, False, f"step {step}, "
        try:
            if self._load is not None:
                self._load(step)
        except ModeseekError as error:
            self._about_step = f"step {step} cannot be shown: {error} | "

    def _show_mesh(self) -> str:
        """Make the mesh, if it is not that of the field, and show it; what there is to say about it."""
        if not self._meshed and self._mesh is not None:
            self._meshed, made = True, None
            try:
                made = self._mesh(self._resolution)
                self._about_mesh = f"mesh of {len(made.faces)} faces"
            except ModeseekError as error:
                self._about_mesh = str(error)
            if self._glb is not None:
                self._glb.remove()
            self._glb = self._server.scene.add_glb("/mesh", encode(made)) if made else None
        if self._glb is not None:
            self._glb.visible = True
        return self._about_mesh

    def _draw(self, client: Any, height: int) -> int:
        """The field from a visitor's camera behind everything, with its depth; the picture's width."""
        seen, aspect = client.camera, min(8.0, max(1 / 8, float(client.camera.aspect)))  # a window may have no height
        camera = from_viser(np.asarray(seen.wxyz), np.asarray(seen.position), float(seen.fov))
        width = max(1, round(height * aspect))
        with torch.no_grad():
            picture = self._render(camera, height, width)
        depth = depth_along(picture, camera)[0].float().cpu().numpy()
        if client.client_id not in self._server.get_clients():  # gone while it was made
            return width
        client.scene.set_background_image(to_bytes(picture.image[0]), "png", depth=depth)
        return width


def show(nodes: Sequence[Any], visible: bool) -> None:
    """Show parts of a scene, or hide them."""
    for node in nodes:
        node.visible = visible
